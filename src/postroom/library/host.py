"""Whose connection a handler's transaction is on: the application's, as its own role, or one like it.

    Pool       asyncpg's, the application's or our own; handlers get a connection
    Sessions   SQLAlchemy's; handlers get an AsyncSession

Whatever a handler writes there, and how far it is, commits together. A session joins our transaction by a
savepoint, so that a handler which commits it ends the savepoint, not the transaction.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import asyncpg

from .model import HandlerEnded, Unusable

DRIVER = "asyncpg"


class Work(Protocol):
    """One transaction of the application's."""

    @property
    def given(self) -> Any:
        """What handlers get."""

    async def fetchval(self, query: str, *args: Any) -> Any: ...

    async def settle(self) -> None:
        """One event is handled. Raises `HandlerEnded` where what was written for another is lost with it."""

    async def finish(self) -> None:
        """All are handled: whatever is still in memory goes to the database."""


class Host(Protocol):
    def transaction(self) -> AbstractAsyncContextManager[Work]:
        """Commits when the block ends, rolls back when it raises."""


@dataclass(slots=True)
class _OnConnection:
    given: Any

    async def fetchval(self, query: str, *args: Any) -> Any:
        return await self.given.fetchval(query, *args)

    async def settle(self) -> None: ...

    async def finish(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Pool:
    """An asyncpg pool."""

    pool: asyncpg.Pool

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Work]:
        async with self.pool.acquire() as conn, conn.transaction():
            yield _OnConnection(conn)


@dataclass(slots=True)
class _InSession:
    given: Any
    connection: Any
    open: Any = None  # the session's savepoint, in which something of an event before may stand

    async def fetchval(self, query: str, *args: Any) -> Any:
        return (await self.connection.exec_driver_sql(query, args)).scalar()

    async def settle(self) -> None:
        now = self.given.sync_session.get_transaction()
        if self.open is not None and now is not self.open:
            raise HandlerEnded("The handler has ended the session's transaction, with others' writes in it.")
        self.open = now

    async def finish(self) -> None:
        await self.given.commit()


@dataclass(frozen=True, slots=True)
class Sessions:
    """What makes SQLAlchemy's sessions, with the engine of those that it makes."""

    make: Callable[..., Any]
    engine: Any

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Work]:
        async with (
            self.engine.begin() as connection,
            self.make(bind=connection, join_transaction_mode="create_savepoint") as session,
        ):
            yield _InSession(session, connection)


def host_of(session: Any) -> Host:
    """For an asyncpg pool, what gives one, or an `async_sessionmaker` over asyncpg. Raises `Unusable`."""
    made = session() if callable(session) else session
    if isinstance(made, asyncpg.Pool):
        return Pool(made)
    engine = getattr(made, "bind", None)
    # A connection, as tests bind sessions to, would share its transaction with all of them.
    is_engine = hasattr(engine, "dispose")
    if not is_engine or getattr(getattr(engine, "dialect", None), "driver", None) != DRIVER:
        raise Unusable(
            "Give `session` an asyncpg pool, or an async_sessionmaker of an engine of postgresql+asyncpg://."
        )
    return Sessions(session, engine)
