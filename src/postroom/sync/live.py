"""How syncs go, live: told by hints, in whichever process they run, and heard by who wants to know.

    perform ─ began, ended ─▶ hint ─▶ Syncs ─ one read of their rows ─▶ Aside ─▶ a page that is open

A sync that changes nothing writes nothing into the log, so these are no events: they have no cursor, may be
missed, and cost nothing but the hint where nobody listens. Whoever was away asks how its accounts stand.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeAlias

import structlog

from postroom.accounts.model import Account
from postroom.accounts.store.results import Result, results
from postroom.db.beside import beside
from postroom.db.listen import Hearing, Hints
from postroom.db.pool import Database
from postroom.errors import PostroomError
from postroom.ids import AccountId, TenantId

from .model import Counts

SYNCS = "sync.live"
STARTED, ENDED = "sync_started", "sync"
TYPES = frozenset({STARTED, ENDED})
GATHER_SECONDS = 0.02
WAITING = 100  # pieces of news for one reader, before the oldest go

logger = structlog.get_logger()

News: TypeAlias = tuple[str, Mapping[str, Any]]


class What(StrEnum):
    BEGAN = "began"
    ENDED = "ended"  # its account's row says how
    STOPPED = "stopped"  # what came of it says nothing of the account


def tell(db: Database, account: Account, what: What, counts: Counts) -> None:
    """Tell of a sync, after the commit of what its account's row says of it."""
    if db.tell is not None:
        about = f"{account.tenant_id} {account.id} {what} {counts.added} {counts.removed}"
        db.tell(SYNCS, f"{about} {time.time_ns()}")  # by which one that comes twice is known


@dataclass(frozen=True, slots=True)
class Hinted:
    tenant: TenantId
    account: AccountId
    what: What
    added: int
    removed: int
    told_at: int  # in nanoseconds, by the clock of whoever told


def read(subject: str) -> Hinted | None:
    """A hint of `tell`; None for what makes no sense."""
    try:
        tenant, account, what, *numbers = subject.split(" ")
        added, removed, told_at = map(int, numbers)
        return Hinted(TenantId(int(tenant)), AccountId(int(account)), What(what), added, removed, told_at)
    except ValueError:
        return None


class Aside:
    """One reader's news, of all accounts of a tenant or of some. Whoever has it closes it."""

    def __init__(
        self, syncs: "Syncs", tenant: TenantId, accounts: Collection[AccountId] | None, wake: asyncio.Event
    ) -> None:
        self._syncs, self._tenant, self._accounts, self._wake = syncs, tenant, accounts, wake
        self._waiting: deque[News] = deque(maxlen=WAITING)

    def hear(self, account: AccountId, news: News) -> None:
        if self._accounts is None or account in self._accounts:
            self._waiting.append(news)
            self._wake.set()

    def take(self) -> Sequence[News]:
        """What has come since the last time."""
        found = list(self._waiting)
        self._waiting.clear()
        return found

    def close(self) -> None:
        self._syncs.leave(self, self._tenant)


class Syncs:
    """Everybody in this process who wants to know how syncs go. Made by `syncs`."""

    def __init__(self, db: Database, hints: Hints) -> None:
        self._db, self._hints = db, hints
        self._asides: dict[TenantId, set[Aside]] = {}
        self._last: dict[TenantId, dict[tuple[AccountId, What], int]] = {}  # when each was told
        self._wanted = asyncio.Event()

    def aside(self, tenant: TenantId, accounts: Collection[AccountId] | None, wake: asyncio.Event) -> Aside:
        """Of these accounts; None: of all. `wake` is set when there is something to take."""
        made = Aside(self, tenant, accounts, wake)
        self._asides.setdefault(tenant, set()).add(made)
        self._wanted.set()
        return made

    def leave(self, aside: Aside, tenant: TenantId) -> None:
        asides = self._asides.get(tenant, set())
        asides.discard(aside)
        if not asides:
            self._asides.pop(tenant, None)
            self._last.pop(tenant, None)

    async def hear(self) -> None:
        await self._wanted.wait()
        with self._hints.hear(SYNCS) as hearing:
            while True:
                heard: dict[TenantId, list[Hinted]] = {}
                for hint in await _gathered(hearing):
                    if hint.tenant in self._asides and self._is_new(hint):
                        heard.setdefault(hint.tenant, []).append(hint)
                for tenant, hints in heard.items():
                    try:
                        await self._pass_on(tenant, hints)
                    except PostroomError as error:
                        logger.warning("sync.database_away", code=error.code)

    def _is_new(self, hint: Hinted) -> bool:
        last, about = self._last.setdefault(hint.tenant, {}), (hint.account, hint.what)
        is_new = last.get(about) != hint.told_at
        last[about] = hint.told_at
        return is_new

    async def _pass_on(self, tenant: TenantId, hints: Sequence[Hinted]) -> None:
        async with self._db.transaction(tenant) as conn:
            rows = await results(conn, tenant, list({hint.account for hint in hints}))
        for hint in hints:
            row = rows.get(hint.account)
            news = None if row is None else _news(hint, row)
            if news is not None:
                for aside in self._asides.get(tenant, ()):
                    aside.hear(hint.account, news)


def _news(hint: Hinted, row: Result) -> News | None:
    if hint.what is What.BEGAN:
        # Where it has ended already, its end is all there is to be told.
        return None if row.started_at is None else (STARTED, {"account": row.public_id, "at": row.started_at})
    is_result = hint.what is What.ENDED
    error = row.error if is_result else None
    return ENDED, {
        "account": row.public_id,
        "status": row.status if is_result else "stopped",
        "at": row.at if is_result else datetime.now(UTC),
        "added": hint.added,
        "removed": hint.removed,
        "error": None if error is None else {"code": error["code"], "message": error["message"]},
    }


async def _gathered(hearing: Hearing) -> list[Hinted]:
    """What is heard within a moment, in its order. That something may have been missed is no news."""
    heard = [await anext(hearing)]
    with suppress(TimeoutError):
        async with asyncio.timeout(GATHER_SECONDS):
            while True:
                heard.append(await anext(hearing))
    found = (read(hint) for hint in heard if hint is not None)
    return [hint for hint in found if hint is not None]


@asynccontextmanager
async def syncs(db: Database, hints: Hints) -> AsyncIterator[Syncs]:
    """How syncs go can be heard for as long as the block runs."""
    found = Syncs(db, hints)
    async with beside(found.hear()):
        yield found
