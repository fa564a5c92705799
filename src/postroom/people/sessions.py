"""Signing in without an issuer: a link, good once, opens a session, which a browser shows in a cookie."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from postroom.db.pool import Database
from postroom.http.caller import Caller
from postroom.http.cookies import PREFIX
from postroom.ids import TenantId
from postroom.people import store
from postroom.people.keys import LENGTH, TOUCH_EVERY, digest_of, new_text
from postroom.people.model import BadLink, NoSuchSession, Session

LINK = timedelta(minutes=10)
LIFE = timedelta(days=7)
SHAPE = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{LENGTH}}}")
LINK_PREFIX = "pl_"
LINK_SHAPE = re.compile(rf"{LINK_PREFIX}[0-9A-Za-z]{{{LENGTH}}}")


@dataclass(frozen=True, slots=True)
class Link:
    """The secret part of a link, and until when it is good."""

    text: str
    expires_at: datetime


async def new_link(database: Database, tenant: TenantId, good_for: timedelta = LINK) -> Link:
    """A link that lets whoever has it in, once, as an admin of the tenant."""
    text = new_text(LINK_PREFIX)
    async with database.transaction(tenant) as conn:
        return Link(text, await store.new_link(conn, tenant, digest_of(text), good_for))


async def open_session(database: Database, link: str, former: str | None = None) -> str:
    """Use a link up; what the browser shows from now on. `former`, which it has shown until now, ends.

    Raises `BadLink`; then nothing has ended.
    """
    text = new_text(PREFIX)
    if not LINK_SHAPE.fullmatch(link):
        raise _bad_link()
    async with database.single() as conn:
        if not await store.use_link(conn, digest_of(link), digest_of(text), LIFE):
            raise _bad_link()
    over = await find(database, former) if former else None
    if over is not None and over.person is not None and over.person.session is not None:
        async with database.transaction(over.tenant) as conn:
            await store.revoke_session(conn, over.tenant, over.person.session)
    return text


async def find(database: Database, text: str) -> Caller | None:
    """Whose session this is; None for one that is unknown or over."""
    if not SHAPE.fullmatch(text):
        return None
    async with database.single() as conn:
        found = await store.find_session(conn, digest_of(text))
    if found is None:
        return None
    caller, number, last_used_at = found
    if last_used_at is None or datetime.now(UTC) - last_used_at >= TOUCH_EVERY:
        async with database.transaction(caller.tenant) as conn:
            await store.touch_session(conn, caller.tenant, number)
    return caller


async def listed(database: Database, tenant: TenantId) -> list[Session]:
    """Those that are open."""
    async with database.transaction(tenant) as conn:
        return await store.sessions(conn, tenant)


async def revoke(database: Database, tenant: TenantId, public_id: UUID) -> None:
    """End a session at once. Raises `NoSuchSession`."""
    async with database.transaction(tenant) as conn:
        if not await store.revoke_session(conn, tenant, public_id):
            raise NoSuchSession("There is no such session.")


def _bad_link() -> BadLink:
    return BadLink("This link was used already, or is too old; `postroom login` prints a new one.")
