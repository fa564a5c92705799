"""The ways in which a sync dies, each at a moment that can be chosen anywhere in its course.

CANCELLED        its task is cancelled when the server has said so many bytes
RESET, CLOSE     the connection to the mail server breaks there
CRASH_BEFORE     the program is gone just before its n-th commit: nothing it began there is stored
CRASH_AFTER      just after it: stored, and nobody heard
DATABASE         PostgreSQL ends every connection of ours at a byte of the mail server's
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum

import asyncpg

from postroom.db.pool import Connection, Database
from postroom.ids import TenantId

JUDGE = "judge"  # whose connections stay
END_ALL = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'postroom'
"""


class How(Enum):
    CANCELLED = "cancelled"
    RESET = "reset"
    CLOSE = "close"
    STALL = "stall"
    CRASH_BEFORE = "crash before a commit"
    CRASH_AFTER = "crash after a commit"
    DATABASE = "database connections lost"


@dataclass(frozen=True, slots=True)
class Death:
    """`when` is a share (0 to 1) of the course that the sync before took: of its bytes, or its commits."""

    how: How
    when: float


class Crashed(BaseException):
    """The program is gone."""


class Mortal(Database):
    """A pool whose program can die at a commit; then every further use of it dies, too."""

    def __init__(self, dsn: str, *, size: int, role: str | None) -> None:
        super().__init__(dsn, size=size, role=role)
        self.commits = 0
        self.dies_at: int | None = None
        self.stores_first = False
        self.is_dead = False

    def live(self, dies_at: int | None = None, *, stores_first: bool = False) -> None:
        """Begin a life of the program; it dies at the commit of this number, from 1."""
        self.commits, self.dies_at, self.stores_first, self.is_dead = 0, dies_at, stores_first, False

    @asynccontextmanager
    async def transaction(
        self, tenant: TenantId, *, lasting_plans: bool = False
    ) -> AsyncIterator[Connection]:
        if self.is_dead:
            raise Crashed
        async with super().transaction(tenant, lasting_plans=lasting_plans) as conn:
            yield conn
            self.commits += 1
            is_last = self.commits == self.dies_at
            if is_last and not self.stores_first:
                self._die()
        if is_last:
            self._die()

    def _die(self) -> None:
        self.is_dead = True
        raise Crashed


@asynccontextmanager
async def mortal_pool(dsn: str, role: str) -> AsyncIterator[Mortal]:
    database = Mortal(dsn, size=10, role=role)
    try:
        yield database
    finally:
        database.live()
        await database._close()


@asynccontextmanager
async def judging_pool(dsn: str, role: str) -> AsyncIterator[Database]:
    """Whom `end_connections` spares."""
    database = Database(dsn, size=5, role=role)
    database._settings = {**database._settings, "application_name": JUDGE}
    try:
        yield database
    finally:
        await database._close()


async def end_connections(dsn: str) -> int:
    """PostgreSQL ends all our connections to this database; returns how many there were."""
    conn = await asyncpg.connect(dsn)
    try:
        return int(await conn.fetchval(END_ALL))
    finally:
        await conn.close()


def at_byte(number: int, act: Callable[[], object]) -> Callable[[int], None]:
    """Act once, when so many bytes have been said."""
    is_done = False

    def heard(said: int) -> None:
        nonlocal is_done
        if not is_done and said >= number:
            is_done = True
            act()

    return heard


async def ended(task: "asyncio.Task[object]") -> BaseException | None:
    """Wait until a task has ended in any way; what it raised, if it did."""
    await asyncio.wait([task])
    if task.cancelled():
        return asyncio.CancelledError()
    return task.exception()
