"""A process that is killed at a statement of its choice."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from servers.tenants import ONE

from postroom.db.pool import Connection, Database


class Killed(BaseException):
    """The process is gone: nothing that follows an error gets to run its course."""


class Killer:
    """Counts the statements that go to PostgreSQL, and kills at the last."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._left = 0
        for name in ("_do_execute", "execute"):
            monkeypatch.setattr(asyncpg.Connection, name, self._dying(getattr(asyncpg.Connection, name)))

    async def until(self, statement: int, db: Database, work: Awaitable[object]) -> bool:
        """Do the work, killed at that statement; whether it came so far."""
        self._left = statement
        try:
            await work
        except Killed:
            died = True
        else:
            died = False
        self._left = 0
        async with db.transaction(ONE) as conn:  # the lease of a process that is gone is free at once
            await conn.execute("UPDATE db_lease SET expires_at = now()")
        return died

    def _dying(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def dying(connection: Connection, query: str, *args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                raise Killed
            return await method(connection, query, *args, **kwargs)

        return dying
