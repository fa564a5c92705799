"""Connect a mailbox: find its server, log in, see what is there; only then is anything stored.

address ─> settings (given, or found) ─> log in ─> folders ─> estimate
                                                                 │
                          account + sealed secret + event <──────┘   one transaction

Of what was found the first that says yes or no counts: a password that one server refuses is shown to no
other.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from postroom.accounts import credentials, store
from postroom.accounts.autodiscover import Candidate, FoundBy
from postroom.accounts.change import Then, tell
from postroom.accounts.guess import normal_address
from postroom.accounts.model import Account, AccountState, AlreadyConnected, Scope
from postroom.accounts.scope import wants
from postroom.accounts.seek import Seek, guessed
from postroom.db.pool import Connection, Database
from postroom.errors import Invalid, NeedsOwner, PostroomError
from postroom.ids import TenantId, new_public_id
from postroom.net.model import EgressRefused
from postroom.providers.model import (
    Estimate,
    Incomplete,
    Login,
    Mailbox,
    NotTrusted,
    Provider,
    TlsRefused,
    Unreachable,
)
from postroom.vault.seal import Vault

MENDABLE = {AccountState.REAUTH_REQUIRED, AccountState.ERROR}
TRY = 15  # seconds that one candidate has, from its name to the login
NOBODY_THERE = (Unreachable, NotTrusted, TlsRefused, Incomplete, EgressRefused)  # another may do


class NoServerFound(NeedsOwner):
    code = "accounts.no_server_found"


class NothingToCopy(Invalid):
    code = "accounts.nothing_to_copy"


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants connected. Without `settings` they are found by the address."""

    address: str
    secret: str = field(repr=False)
    provider: str = "imap"
    settings: Mapping[str, Any] | None = None
    username: str | None = None  # None: the address, or what the table of providers says
    ca_file: str | None = None
    scope: Scope = field(default_factory=Scope)
    poll_every: timedelta | None = None
    compress: str | None = None  # whether an IMAP server is to: auto, always, never
    daily_bytes: int | None = None  # to download in a day; None: as its provider has it


@dataclass(frozen=True, slots=True)
class Found:
    """A login that worked, and what a first sync would copy."""

    settings: Mapping[str, Any]
    estimate: Estimate
    found_by: FoundBy | None = None  # None: the settings were given


@dataclass(frozen=True, slots=True)
class Connected:
    account: Account
    estimate: Estimate
    found_by: FoundBy | None = None


async def connect(
    db: Database,
    vault: Vault,
    providers: Mapping[str, Provider],
    tenant: TenantId,
    wish: Wish,
    begin_anew: Then,
    seek: Seek = guessed,
) -> Connected:
    """Connect a mailbox, or one whose last sync failed once more: then its password and settings change, and
    `begin_anew` sees to it that it is synced with these and not with those before. `seek` finds its server.

    Raises `AlreadyConnected`, `BadAddress`, `NoServerFound`, and what the provider raises; nothing is stored.
    """
    address = normal_address(wish.address)
    async with db.transaction(tenant) as conn:
        known = await store.find(conn, tenant, address)
    if known is not None and known.state not in MENDABLE:
        raise _connected_already(address)
    found = await examine(providers, wish, seek)
    async with db.transaction(tenant) as conn:
        if known is None:
            account = await _add(conn, vault, tenant, address, wish, found)
        else:
            account = await _mend(conn, vault, known, wish, found, begin_anew)
        await tell(conn, account, "accounts.connected" if known is None else "accounts.changed")
        if known is not None and known.needs_owner:
            await tell(conn, account, "accounts.recovered")
    return Connected(account, found.estimate, found.found_by)


async def examine(providers: Mapping[str, Provider], wish: Wish, seek: Seek = guessed) -> Found:
    """Log in and count, storing nothing. Raises as `connect` does."""
    provider = providers[wish.provider]
    address = normal_address(wish.address)
    if wish.settings is not None:
        async with provider.open(_login(address, wish, wish.settings)) as mailbox:
            return await _examined(provider, mailbox, address, wish, Candidate(wish.settings, None))
    candidates = await seek(address, Path(wish.ca_file) if wish.ca_file else None)
    met: list[tuple[Candidate, PostroomError]] = []
    for candidate in candidates:
        if candidate.refusal is not None:
            met.append((candidate, candidate.refusal))
            continue
        try:
            return await _tried(provider, address, wish, candidate)
        except NOBODY_THERE as error:
            if candidate.found_by is FoundBy.TABLE:
                raise
            met.append((candidate, error))
    raise _none_of(address, met)


async def _tried(provider: Provider, address: str, wish: Wish, candidate: Candidate) -> Found:
    async with AsyncExitStack() as stack:
        opening = provider.open(_login(address, wish, candidate.settings))
        try:
            async with asyncio.timeout(TRY):
                mailbox = await stack.enter_async_context(opening)
        except TimeoutError as error:
            host = candidate.settings["host"]
            raise Unreachable(f"{host} does not answer within {TRY} seconds.", host=host) from error
        return await _examined(provider, mailbox, address, wish, candidate)


def _login(address: str, wish: Wish, settings: Mapping[str, Any]) -> Login:
    return Login(address, _with_wishes(wish, settings), wish.secret)


def _with_wishes(wish: Wish, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    given = {
        "username": wish.username,
        "ca_file": wish.ca_file,
        "compress": wish.compress,
        "daily_bytes": wish.daily_bytes,
    }
    return {**settings, **{key: value for key, value in given.items() if value}}


async def _examined(provider: Provider, mailbox: Mailbox, address: str, wish: Wish, at: Candidate) -> Found:
    folders = [f for f in await mailbox.folders() if f.selectable and wants(wish.scope, f.path)]
    if not folders:
        raise NothingToCopy(f"No folder of {address} matches {wish.scope.folders}.", address=address)
    estimate = await provider.estimate(mailbox, folders)
    return Found(_with_wishes(wish, at.settings), estimate, at.found_by)


def _none_of(address: str, met: Sequence[tuple[Candidate, PostroomError]]) -> PostroomError:
    """What to say when nobody has let us in: of somebody who is there, or whom we may not ask, if any."""
    for kind in (NeedsOwner, EgressRefused):
        for candidate, error in met:
            if isinstance(error, kind) and candidate.found_by is not FoundBy.GUESS:
                return error
    for _, error in met:
        if isinstance(error, NeedsOwner | EgressRefused):
            return error
    hosts = ", ".join(dict.fromkeys(candidate.settings["host"] for candidate, _ in met))
    return NoServerFound(
        f"No mail server answers for {address} (tried {hosts}); name it with --server imaps://HOST:PORT.",
        address=address,
        tried=[{"host": one.settings["host"], "found_by": one.found_by, "code": e.code} for one, e in met],
    )


async def _add(
    conn: Connection, vault: Vault, tenant: TenantId, address: str, wish: Wish, found: Found
) -> Account:
    public_id = new_public_id()
    account = await store.add(
        conn,
        tenant,
        public_id,
        address=address,
        provider=wish.provider,
        settings=found.settings,
        secret=credentials.seal(vault, tenant, public_id, wish.secret) if wish.secret else None,
        scope=wish.scope,
        poll_every=wish.poll_every,
    )
    if account is None:  # somebody was faster
        raise _connected_already(address)
    return account


async def _mend(
    conn: Connection, vault: Vault, known: Account, wish: Wish, found: Found, begin_anew: Then
) -> Account:
    """What is copied, how often and how much of it in a day, stays as it was chosen."""
    if (await store.lock(conn, known.tenant_id, known.id)).state is AccountState.PAUSED:
        raise _connected_already(known.address)  # paused or being removed, while we asked the server
    sealed = credentials.seal(vault, known.tenant_id, known.public_id, wish.secret) if wish.secret else None
    chosen = {key: value for key, value in known.settings.items() if key == "daily_bytes"}
    settings = {**chosen, **found.settings}
    await store.set_credentials(conn, known.tenant_id, known.id, settings, sealed)
    account = await store.get_by_id(conn, known.tenant_id, known.id)
    await begin_anew(conn, account)
    return account


def _connected_already(address: str) -> AlreadyConnected:
    return AlreadyConnected(f"{address} is connected already.", address=address)
