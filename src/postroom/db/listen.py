"""Hints between processes over NOTIFY: "something happened there, look now rather than later".

A hint may be lost, doubled or late, so polling stays the truth. Hints are told after a commit, never
inside a transaction (there they serialise all commits): see `pool.hint`. The first goes at once, and what
comes in the moment after it is gathered, so that a thousand mails make two. Everybody in this process hears
through one connection, which must not go through a pooler such as pgbouncer, and tells through it as well.

    tell ─┬▶ gathered ─▶ pg_notify ─▶ PostgreSQL ─▶ one connection of each process ─┬▶ each Hearing that
          └──────────────────────── at once, in this process ───────────────────────┘  wants the topic
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from postroom.db.beside import beside
from postroom.db.failures import DRIVER
from postroom.db.pool import Connection, Database
from postroom.errors import PostroomError

CHANNEL = "postroom"
GATHER_SECONDS = 0.001, 0.02  # for each hint that was told since the last time; at most
LONGEST = 7000  # characters in one NOTIFY, which has room for 8,000 bytes
CHECK_SECONDS = 30.0
RETRY_SECONDS = (0.1, 5.0)
BOUND = 1000
NUMBER = re.compile(r"\d{19,}")
LARGEST = (1 << 63) - 1

NOTIFY = "SELECT pg_notify($1, hint) FROM unnest($2::text[]) AS hints (hint)"
ALIVE = "SELECT 1"
LIGHT = "SET synchronous_commit = off"  # a NOTIFY that waits for the disk comes late, and may be lost anyway

Hint = str | None
"""What happened to whom, or None: anything may have happened, look at everything."""


class Hearing:
    """One listener's hints. Equal ones that wait become one; too many become a single None."""

    def __init__(self, topics: frozenset[str]) -> None:
        self.topics = topics
        self._waiting: dict[Hint, None] = {None: None}  # whoever begins to listen begins with a look
        self._wake = asyncio.Event()
        self._wake.set()

    def __aiter__(self) -> "Hearing":
        return self

    async def __anext__(self) -> Hint:
        await self._wake.wait()
        hint = next(iter(self._waiting))
        del self._waiting[hint]
        if not self._waiting:
            self._wake.clear()
        return hint

    def put(self, hint: Hint) -> None:
        if hint is None or len(self._waiting) >= BOUND:
            self._waiting = {None: None}
        elif None not in self._waiting:
            self._waiting[hint] = None
        self._wake.set()


class Hints:
    """Made by `open_hints`; lives as long as its block."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._hearings: set[Hearing] = set()
        self._wanted = asyncio.Event()
        self._untold: dict[tuple[str, str], None] = {}
        self._told = 0
        self._tell = asyncio.Event()
        self._line: Connection | None = None  # the one connection, while it stands
        self._turn = asyncio.Lock()  # whose statement it is

    def tell(self, topic: str, subject: str = "") -> None:
        """Say that something happened. Call it after the commit; it never waits and never fails.

        `topic` is a word such as an event's kind; `subject` says to whom, in a few characters.
        """
        if len(self._untold) >= BOUND:
            self._untold = {(known, ""): None for known, _ in self._untold}
        self._untold[topic, subject] = None
        self._told += 1
        self._tell.set()
        self._hand_out(topic, subject)

    @contextmanager
    def hear(self, *topics: str) -> Iterator[Hearing]:
        """Hints about these topics, as `async for hint in hearing`. The first is None."""
        hearing = Hearing(frozenset(topics))
        self._hearings.add(hearing)
        self._wanted.set()
        try:
            yield hearing
        finally:
            self._hearings.discard(hearing)

    async def flush(self) -> None:
        """Send what was told and not yet sent. A database that is away loses hints, and nothing else."""
        self._tell.clear()
        hints, self._untold = self._untold, {}
        if not hints:
            return
        payloads = _packed(f"{topic} {subject}" for topic, subject in hints)
        try:
            if self._line is None or not await self._said(self._line, payloads):
                with suppress(PostroomError):
                    async with self._db.unbound() as conn:
                        await conn.execute(NOTIFY, CHANNEL, payloads)
        except asyncio.CancelledError:
            self._untold = {**hints, **self._untold}
            raise

    async def _said(self, line: Connection, payloads: list[str]) -> bool:
        """Whether the connection that listens sent these: one round trip, no transaction around it."""
        with suppress(*DRIVER):
            async with self._turn:
                await line.execute(NOTIFY, CHANNEL, payloads)
                return True
        return False

    async def _send(self) -> None:
        each, longest = GATHER_SECONDS
        while True:
            await self._tell.wait()
            told, self._told = self._told, 0
            await self.flush()
            await asyncio.sleep(min(each * told, longest))

    async def _receive(self) -> None:
        await self._wanted.wait()
        delay, longest = RETRY_SECONDS
        while True:
            try:
                conn = await self._db.separate()
            except PostroomError:
                await asyncio.sleep(delay)
                delay = min(delay * 2, longest)
                continue
            delay = RETRY_SECONDS[0]
            try:
                await self._attend(conn)
            finally:
                self._line = None
                conn.terminate()

    async def _attend(self, conn: Connection) -> None:
        """Hand out what this connection hears until it is lost."""
        lost = asyncio.Event()
        conn.add_termination_listener(lambda _conn: lost.set())
        with suppress(*DRIVER):
            await conn.execute(LIGHT)
            await conn.add_listener(CHANNEL, self._heard)
            for hearing in self._hearings:
                hearing.put(None)  # what was told before we listened
            self._line = conn
            while not lost.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_SECONDS):
                        await lost.wait()
                async with asyncio.timeout(CHECK_SECONDS), self._turn:
                    await conn.execute(ALIVE)

    def _heard(self, _conn: object, sender: int, _channel: str, payload: object) -> None:
        if self._line is not None and sender == self._line.get_server_pid():
            return  # it was handed out when it was told
        for told in str(payload).split("\n"):
            if not _is_sane(told):
                continue
            topic, _, subject = told.partition(" ")
            self._hand_out(topic, subject)

    def _hand_out(self, topic: str, subject: str) -> None:
        for hearing in self._hearings:
            if topic in hearing.topics:
                hearing.put(subject or None)


def _is_sane(told: str) -> bool:
    """Whoever may connect to the database can NOTIFY: there is nothing that has a number this long."""
    return all(len(found) == 19 and int(found) <= LARGEST for found in NUMBER.findall(told))


def _packed(hints: Iterable[str]) -> list[str]:
    """As few payloads as hold them, a hint a line: each NOTIFY costs whoever tells and whoever hears."""
    payloads: list[str] = []
    for hint in hints:
        if payloads and len(payloads[-1]) + len(hint) < LONGEST:
            payloads[-1] += f"\n{hint}"
        else:
            payloads.append(hint)
    return payloads


@asynccontextmanager
async def open_hints(db: Database) -> AsyncIterator[Hints]:
    """Tell and hear hints for as long as the block runs; what was told at its end is still sent."""
    hints, before = Hints(db), db.tell
    db.tell = hints.tell
    try:
        async with beside(hints._send(), hints._receive()):
            yield hints
    finally:
        db.tell = before
        await hints.flush()
