"""Where a sync can be interrupted, and how: a hook at every commit and at every write to the server.

KILL    the process is gone, before or after a commit: nothing that follows gets to run its course
LOSE    the connection to PostgreSQL is lost before or after a commit; the program goes on
CUT     the connection to the mail server is lost before or after a write; the program goes on
CHANGE  none of these: the mailbox changes at the moment of a write
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from typing import Any

import asyncpg
import pytest

from postroom.db import process
from postroom.imap.wire import Wire

HAS_WRITTEN = "SELECT pg_current_xact_id_if_assigned() IS NOT NULL"
# Rows counted since this backend last handed in its numbers, which it never does in mid-transaction.
WRITTEN = """
    SELECT relname, pg_stat_get_xact_tuples_inserted(oid) + pg_stat_get_xact_tuples_updated(oid)
                  + pg_stat_get_xact_tuples_deleted(oid)
      FROM pg_class WHERE relnamespace = 'postroom'::regnamespace AND relkind = 'r'
"""
NOBODY = 1 << 23  # a process number that no kernel gives
LIVES = count(1)


class Kind(Enum):
    KILL_BEFORE = "killed before a commit"
    KILL_AFTER = "killed after a commit"
    LOSE_BEFORE = "database lost before a commit"
    LOSE_AFTER = "database lost after a commit"
    CUT_BEFORE = "server lost before a write"
    CUT_AFTER = "server lost after a write"
    CHANGE = "mailbox changed at a write"


AT_COMMIT = (Kind.KILL_BEFORE, Kind.KILL_AFTER, Kind.LOSE_BEFORE, Kind.LOSE_AFTER)
AT_WRITE = (Kind.CUT_BEFORE, Kind.CUT_AFTER)


@dataclass(frozen=True, slots=True)
class Point:
    """One place at which a sync is interrupted: the how-manieth commit or write, from 1."""

    kind: Kind
    number: int

    def __str__(self) -> str:
        return f"{self.kind.value} ({self.number})"


class Killed(BaseException):
    """The process is gone."""


@dataclass(slots=True)
class Life:
    """One run of the program: what it has done, and at which point it is to be interrupted."""

    point: Point | None = None
    change: Callable[[], None] = lambda: None
    asks_tables: bool = False
    commits: int = 0  # of transactions that had written something
    writes: int = 0
    tables: set[str] = field(default_factory=set)  # that were written to
    counted: dict[asyncpg.Connection, set[tuple[str, int]]] = field(default_factory=dict)
    is_interrupted: bool = False
    is_dead: bool = False

    @property
    def kind(self) -> Kind | None:
        return self.point.kind if self.point else None

    def is_at(self, number: int, *kinds: Kind) -> bool:
        """Whether this is where it is interrupted."""
        if self.point is None or self.point.number != number or self.point.kind not in kinds:
            return False
        self.is_interrupted = True
        return True


class Interrupts:
    """The hooks. Outside of a life they do nothing."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.life: Life | None = None
        self._lines: list[_Line] = []
        connection: Any = asyncpg.Connection  # with what its stubs do not have
        self._execute = asyncpg.Connection.execute
        self._connection_made = Wire.connection_made
        patch.setattr(asyncpg.Connection, "execute", self._executing())
        patch.setattr(asyncpg.Connection, "_do_execute", self._refusing(connection._do_execute))
        patch.setattr(asyncpg.Connection, "_copy_in", self._refusing(connection._copy_in))
        patch.setattr(asyncpg, "connect", self._refusing(asyncpg.connect))
        patch.setattr(Wire, "connection_made", self._meeting())
        patch.setattr(process, "identity", self._identity)

    async def live(self, life: Life, doing: Awaitable[Any]) -> Any:
        """Let a life happen. None when it was killed; then its connections are closed, without a word."""
        self.life, self._lines = life, []
        task = asyncio.ensure_future(doing)
        try:
            return await task
        except Killed:
            return None
        finally:
            self.life = None
            for line in self._lines:
                line.abort()

    @staticmethod
    def _identity() -> str:
        """Of a process that is gone: whoever comes next sees that its leases are free."""
        return f"{process._machine()} {NOBODY} {next(LIVES)}"

    def _executing(self) -> Callable[..., Awaitable[Any]]:
        async def execute(conn: asyncpg.Connection, query: str, *args: Any, **options: Any) -> Any:
            life = self.life
            if life is None:
                return await self._execute(conn, query, *args, **options)
            if life.is_dead:
                raise Killed
            if query == "COMMIT" and await conn.fetchval(HAS_WRITTEN):
                life.commits += 1
                return await self._commit(conn, life)
            done = await self._execute(conn, query, *args, **options)
            if life.asks_tables and query.startswith("BEGIN"):
                life.counted[conn] = await _counted(conn)
            return done

        return execute

    async def _commit(self, conn: asyncpg.Connection, life: Life) -> Any:
        number = life.commits
        if life.asks_tables:
            life.tables |= {table for table, _ in await _counted(conn) - life.counted[conn]}
        if life.is_at(number, Kind.KILL_BEFORE):
            life.is_dead = True
            raise Killed
        if life.is_at(number, Kind.LOSE_BEFORE):
            conn.terminate()
        done = await self._execute(conn, "COMMIT")
        if life.is_at(number, Kind.KILL_AFTER):
            life.is_dead = True
            raise Killed
        if life.is_at(number, Kind.LOSE_AFTER):
            conn.terminate()
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        return done

    def _refusing(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def refusing(*args: Any, **options: Any) -> Any:
            if self.life is not None and self.life.is_dead:
                raise Killed
            return await method(*args, **options)

        return refusing

    def _meeting(self) -> Callable[[Wire, asyncio.BaseTransport], None]:
        def connection_made(wire: Wire, transport: asyncio.BaseTransport) -> None:
            line = _Line(self, transport)
            self._lines.append(line)
            self._connection_made(wire, line)  # type: ignore[arg-type]  # all but one method is the transport's

        return connection_made


async def _counted(conn: asyncpg.Connection) -> set[tuple[str, int]]:
    return {(table, rows) for table, rows in await conn.fetch(WRITTEN)}


class _Line:
    """A transport to the mail server that breaks when it is told to."""

    def __init__(self, interrupts: Interrupts, transport: Any) -> None:
        self._interrupts, self._transport = interrupts, transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        life = self._interrupts.life
        if life is None:
            self._transport.write(data)
            return
        if life.is_dead:
            return
        life.writes += 1
        if life.is_at(life.writes, Kind.CHANGE):
            life.change()
        if life.is_at(life.writes, Kind.CUT_BEFORE):
            self._transport.abort()
            return
        self._transport.write(data)
        if life.is_at(life.writes, Kind.CUT_AFTER):  # a transport may write at the loop's next turn only
            asyncio.get_running_loop().call_soon(self._transport.abort)
