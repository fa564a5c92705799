"""Connections to PostgreSQL, and the transaction as the only way to use one.

A connection is lent for exactly one transaction, which is bound to one tenant (row-level security shows
that tenant's rows and no others), to some accounts of one, or to none. It comes back only after an end that
the server has confirmed; after a cancellation, a lost connection or any doubt it is closed, never lent again.
So no state outlives a transaction, and asyncpg's reset (a round trip each time) is not needed.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Protocol, TypeAlias
from weakref import WeakKeyDictionary

import asyncpg

from postroom.db import alive, codecs
from postroom.db.failures import DRIVER, connecting, translating
from postroom.db.model import TooOld
from postroom.db.places import Places
from postroom.db.roles import APP, LIMITED
from postroom.ids import AccountId, TenantId

Connection: TypeAlias = asyncpg.Connection

OLDEST = 15
SESSION = {
    "application_name": "postroom",
    "search_path": "postroom, pg_temp",
    "timezone": "UTC",
    "jit": "off",
    # A plan made while a table was small reads all of it once it has grown, until somebody analyzes it.
    "plan_cache_mode": "force_custom_plan",
    # A process that is stopped or cut off in mid-transaction must not hold its locks for ever.
    "idle_in_transaction_session_timeout": "60s",
}

# What is to be told once a connection's transaction is committed.
_hinted: WeakKeyDictionary[Connection, dict[tuple[str, str], None]] = WeakKeyDictionary()

LASTING_PLANS = "; SET LOCAL plan_cache_mode = auto; SET LOCAL enable_seqscan = off"


class Transactions(Protocol):
    """What opens transactions: the pool, or the part of it that is for a caller who may see less."""

    def transaction(
        self, tenant: TenantId, *, lasting_plans: bool = False
    ) -> AbstractAsyncContextManager[Connection]:
        """See `Database.transaction`."""


class Database:
    """The pool. Safe to share between all tasks of one event loop."""

    def __init__(self, dsn: str, *, size: int, role: str | None) -> None:
        self.dsn = dsn
        self._role = role
        self._settings = SESSION if role is None else {**SESSION, "role": role}
        self._places = Places(size)
        self._idle: deque[Connection] = deque()
        self._lent: set[Connection] = set()
        self.tell: Callable[[str, str], None] | None = None  # who hears the hints; see `listen`

    @asynccontextmanager
    async def transaction(
        self, tenant: TenantId, *, lasting_plans: bool = False
    ) -> AsyncIterator[Connection]:
        """One transaction that sees this tenant's rows and no others.

        With `lasting_plans` a statement's plan is made once for many executions, and so are those of foreign
        keys' checks, of which a plan costs more than the check. For writers of many rows into tables that
        have statistics: without them the plan that lasts may be the wrong one. And for what every poll does,
        row by row through an index that nothing else can compete with.

        Commits when the block ends, rolls back when it raises. Raises `Unreachable`, `DiskFull` or `Busy`;
        then nothing is stored, except that a connection lost during COMMIT leaves the outcome unknown.
        """
        async with self._transaction(_begin(tenant, lasting_plans=lasting_plans), tenant) as conn:
            yield conn

    def limited_to(self, accounts: Collection[AccountId] | None) -> Transactions:
        """The pool for somebody who may see these accounts of a tenant only; None: all of it."""
        return self if accounts is None else Limited(self, frozenset(accounts))

    @asynccontextmanager
    async def unbound(self) -> AsyncIterator[Connection]:
        """One transaction without a tenant: protected tables look empty in it.

        For the few questions that span tenants; they are functions made with `postroom.across_tenants`.
        """
        async with self._transaction("BEGIN; SET LOCAL postroom.tenant = ''") as conn:
            yield conn

    @asynccontextmanager
    async def single(self) -> AsyncIterator[Connection]:
        """Exactly one statement without a tenant, a transaction of itself: one round trip, not three.

        It is committed when it returns. Whoever is cut off before that does not know what became of it.
        """
        async with self._transaction("") as conn:
            yield conn

    async def separate(self) -> Connection:
        """A connection of its own, outside the pool, with the same rights; the caller closes it."""
        return await connect(self.dsn, self._settings)

    @asynccontextmanager
    async def reserved(self, size: int) -> AsyncIterator["Database"]:
        """So many connections more that no user of this pool can take, each opened when first needed."""
        own = Database(self.dsn, size=size, role=self._role)
        own.tell = self.tell
        try:
            yield own
        finally:
            await own._close()

    @asynccontextmanager
    async def _transaction(self, begin: str, tenant: TenantId | None = None) -> AsyncIterator[Connection]:
        async with self._places.one(tenant):
            conn = await self._borrow()
            try:
                with translating(conn):
                    async with _Ending(conn, commits=bool(begin)):
                        if begin:
                            await conn.execute(begin)
                        yield conn
                for topic, subject in _hinted.get(conn, ()):
                    if self.tell is not None:
                        self.tell(topic, subject)
            finally:
                _hinted.pop(conn, None)
                self._take_back(conn)

    async def _borrow(self) -> Connection:
        while self._idle:
            conn = self._idle.pop()
            if not conn.is_closed():
                break
        else:
            conn = await self.separate()
        self._lent.add(conn)
        return conn

    def _take_back(self, conn: Connection) -> None:
        self._lent.discard(conn)
        if conn.is_closed():
            return
        if conn.is_in_transaction():
            conn.terminate()
        else:
            self._idle.append(conn)

    async def _close(self) -> None:
        for conn in self._lent:
            conn.terminate()
        while self._idle:
            conn = self._idle.pop()
            with suppress(*DRIVER):
                await conn.close()


def _begin(tenant: TenantId, *, lasting_plans: bool) -> str:
    return f"BEGIN; SET LOCAL postroom.tenant = {tenant:d}{LASTING_PLANS if lasting_plans else ''}"


@dataclass(frozen=True, slots=True)
class Limited:
    """A pool's transactions, seeing nothing but some accounts of a tenant. Without any they see nothing."""

    database: Database
    accounts: frozenset[AccountId]

    @asynccontextmanager
    async def transaction(
        self, tenant: TenantId, *, lasting_plans: bool = False
    ) -> AsyncIterator[Connection]:
        """As `Database.transaction`, and by a role that may write little."""
        numbers = ",".join(f"{account:d}" for account in sorted(self.accounts))
        limits = f"; SET LOCAL ROLE {LIMITED}; SET LOCAL postroom.accounts = '{{{numbers}}}'"
        begin = _begin(tenant, lasting_plans=lasting_plans) + limits
        async with self.database._transaction(begin, tenant) as conn:
            yield conn


@asynccontextmanager
async def open_pool(dsn: str, *, size: int = 10, role: str | None = APP) -> AsyncIterator[Database]:
    """At most `size` connections to a migrated database, each opened when first needed.

    Raises `Unreachable`, `Refused`, `TooOld` or `NotPrepared` at once, not at the first use.
    """
    database = Database(dsn, size=size, role=role)
    try:
        async with database.unbound():
            pass
        yield database
    finally:
        await database._close()


async def connect(dsn: str, settings: dict[str, str] | None = None) -> Connection:
    """One connection with our codecs, outside of any pool; the caller closes it."""
    with connecting(), ExitStack() as stack:
        conn = await asyncpg.connect(
            dsn,
            server_settings=settings or SESSION,
            statement_cache_size=256,
            connection_class=alive.Watchful,
        )
        stack.callback(conn.terminate)
        if (major := conn.get_server_version().major) < OLDEST:
            raise TooOld(f"This is PostgreSQL {major}; postroom needs {OLDEST} or newer.", found=major)
        await alive.watch(conn)
        await codecs.register(conn)
        stack.pop_all()
    return conn


def hint(conn: Connection, topic: str, subject: str = "") -> None:
    """Have it told that something happened, once this connection's transaction is committed. See `listen`."""
    _hinted.setdefault(conn, {})[topic, subject] = None


class _Ending:
    """Ends the transaction of a connection: COMMIT, ROLLBACK, or closed when neither would be certain."""

    def __init__(self, conn: Connection, *, commits: bool) -> None:
        self._conn, self._commits = conn, commits

    async def __aenter__(self) -> None:
        return

    async def __aexit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if error is None:
            # PostgreSQL answers ROLLBACK, and no error, when a statement failed and somebody hid that.
            if self._commits and await self._conn.execute("COMMIT") != "COMMIT":
                raise RuntimeError("a failed statement was not noticed, so nothing of it is stored")
        elif isinstance(error, TimeoutError) or not isinstance(error, Exception):
            self._conn.terminate()  # cancelled: a command may be half way on the wire
        elif not self._conn.is_closed() and self._conn.is_in_transaction():
            try:
                await self._conn.execute("ROLLBACK")
            except DRIVER:
                self._conn.terminate()


class savepoint:
    """A part of a transaction that can fail alone: an error undoes it, is raised, and may be handled."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    async def __aenter__(self) -> None:
        await self._conn.execute("SAVEPOINT part")

    async def __aexit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if error is None:
            await self._conn.execute("RELEASE SAVEPOINT part")
        elif isinstance(error, Exception) and not self._conn.is_closed():
            await self._conn.execute("ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part")
