"""Marks that processes leave where they begin, so that an event which kills them is not tried for ever.

    mark, commit ──▶ the handler's transaction ──▶ moved on: no mark stays behind
                                                ├▶ failed, or the process ends in order: it is taken back
                                                └▶ killed: whoever comes next finds it

A process marks a line before its first transaction there, and then only where it has found a mark of another.
So marks cost nothing once it runs; and what kills is always among the first that the next process begins
with, as nothing passes it.
"""

from contextlib import suppress
from typing import TypeAlias

from postroom.db.pool import Database
from postroom.errors import PostroomError
from postroom.events.model import Place
from postroom.ids import TenantId

from . import store

Key: TypeAlias = tuple[TenantId, str]  # whose, and the handler's name


class Marks:
    """Of one process."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._at: dict[Key, Place | None] = {}  # None: it has moved on since

    def is_at(self, key: Key, place: Place) -> bool:
        return self._at.get(key) == place

    async def leave(self, key: Key, place: Place, begun: int, *, is_suspect: bool) -> bool:
        """Leave a mark where it is needed; False where somebody else is at it.

        `begun`: how many there are already.
        """
        if self.is_at(key, place) or (key in self._at and not is_suspect):
            return True
        tenant, name = key
        async with self._db.transaction(tenant) as conn:
            is_left = await store.lock(conn, tenant, name) and await store.mark(
                conn, tenant, name, place, begun
            )
        if is_left:
            self._at[key] = place
        return is_left

    def passed(self, key: Key) -> None:
        """It has moved on."""
        self._at[key] = None

    def forget(self, key: Key) -> None:
        """Its mark was taken back; there is to be another one when it is tried again."""
        self._at.pop(key, None)

    async def take_back(self) -> None:
        """The process ends, and nothing of that is an event's fault."""
        for (tenant, name), place in self._at.items():
            if place is not None:
                with suppress(PostroomError):  # then the next process takes more care than is needed
                    async with self._db.transaction(tenant) as conn:
                        if await store.lock(conn, tenant, name):
                            await store.unmark(conn, tenant, name, place)
