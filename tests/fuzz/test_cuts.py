"""A conversation that is cut at any byte: by a reset, by a close, by silence.

What was handed out until then is true and whole, the error is one of the port's, nothing hangs, and neither
a task nor a file is left over. The ordinary tests cut once at each byte of one session and at some of the
others; POSTROOM_EVERY_CUT=1 cuts at each byte of each session in each way.
"""

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from fuzz import tally
from fuzz.recording import ALL, Cut, Player, Recording, listening, recording, size
from fuzz.walk import Step, fill, steps

from postroom.errors import PostroomError, TryLater
from postroom.imap import aio
from postroom.imap.framing import Limits
from postroom.lab.server import serve
from postroom.providers.imap import conversation, provider

EVERY_CUT = bool(os.environ.get("POSTROOM_EVERY_CUT"))
BESIDE = 64  # conversations at a time
SPOOLED = 100  # bytes above which a literal is spooled, and the spool a file
SOON = 0.1  # seconds of silence
OPEN_FILES = "/proc/self/fd"
HANGS = 60  # seconds; none takes one
NOTHING_NEW = frozenset(b"SASL-IR LITERAL+ CONDSTORE QRESYNC ESEARCH LIST-EXTENDED LIST-STATUS".split())
SERVERS = {
    "qresync": ("PLAIN", ALL),
    "condstore": ("LOGIN", frozenset({b"QRESYNC", b"LIST-STATUS"})),
    "plain": ("PLAIN", NOTHING_NEW),
}
ASKED = """
    AUTHENTICATE CAPABILITY ENABLE EXAMINE FETCH ID LIST LOGIN LOGOUT SEARCH STATUS
"""


@dataclass(frozen=True, slots=True)
class Session:
    """A whole session, and what came of it."""

    mechanism: str
    recording: Recording
    steps: Sequence[Step]


async def recorded(kind: str) -> Session:
    mechanism, without = SERVERS[kind]
    async with serve(messages=0, folder_count=1) as server:
        fill(server)
        async with recording(server.port, without) as (port, heard):
            return Session(mechanism, heard, [step async for step in steps(port, mechanism)])


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits so low that a short session meets them."""
    monkeypatch.setattr(provider, "LIMITS", Limits(line=16 << 10, spool_over=SPOOLED))
    monkeypatch.setattr(conversation, "IN_MEMORY", 2 * SPOOLED)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "SILENCE", SOON)
    monkeypatch.setattr(conversation, "GRAIN", 0)
    monkeypatch.setattr(provider, "GREETING", SOON)
    monkeypatch.setattr(aio, "LOGOUT_PATIENCE", SOON)


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """As many tasks and open files as before."""
    tasks, files = await held()
    yield
    more_tasks, more_files = await held()
    assert more_tasks == tasks
    assert more_files <= files


async def held() -> tuple[set[asyncio.Task[object]], int]:
    """What is left once everything that was closed has gone."""
    gc.collect()
    for _ in range(5):
        await asyncio.sleep(0)
    return asyncio.all_tasks(), len(os.listdir(OPEN_FILES))


async def cut(session: Session, limit: int, how: Cut) -> tuple[list[Step], PostroomError | None]:
    """The steps that were done before the connection was cut, and the error."""
    player, done = Player(session.recording, limit, how), list[Step]()
    async with listening(player.serve) as port, asyncio.timeout(HANGS):
        try:
            async for step in steps(port, session.mechanism):
                done.append(step)
        except PostroomError as error:
            return done, error
        finally:
            assert player.strange is None, player.strange
    return done, None


async def check(session: Session, limit: int, how: Cut) -> None:
    done, error = await cut(session, limit, how)
    assert done == session.steps[: len(done)], f"what was told before the {how} at {limit} is not true"
    if error is None:
        assert done == session.steps, f"the {how} at {limit} went unnoticed"
    else:
        assert isinstance(error, TryLater), f"the {how} at {limit} is taken for {error!r}"
    if how is not Cut.STALL and limit == size(session.recording):
        assert error is None


async def cut_at(session: Session, limits: Sequence[int], how: Cut) -> None:
    """Cut it at each of these; the long form is counted."""
    for start in range(0, len(limits), BESIDE):
        async with asyncio.TaskGroup() as group:
            for limit in limits[start : start + BESIDE]:
                group.create_task(check(session, limit, how))
    if EVERY_CUT:
        tally.add(f"conversations cut by {how}", len(limits))


def offsets(kind: str, session: Session, how: Cut) -> Sequence[int]:
    """Every byte; in the short form all three ways together every byte, and fewer of the older servers."""
    every = range(size(session.recording) + 1)
    step = len(Cut) if kind == "qresync" else 3 * len(Cut)
    return every if EVERY_CUT else every[list(Cut).index(how) :: step]


def test_the_sessions_hold_every_command_that_we_use() -> None:
    said = set[str]()
    for kind in SERVERS:
        for exchange in asyncio.run(recorded(kind)).recording:
            word = exchange.command.removeprefix(b"UID ").partition(b" ")[0].strip().decode()
            said.add(word)

    assert said >= set(ASKED.split())


@pytest.mark.parametrize("how", [Cut.RESET, Cut.CLOSE])
@pytest.mark.parametrize("kind", SERVERS)
async def test_a_cut_at_any_byte_is_an_error_and_nothing_before_it_is_wrong(kind: str, how: Cut) -> None:
    session = await recorded(kind)

    async with nothing_left():
        await cut_at(session, offsets(kind, session, how), how)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", SERVERS)
async def test_silence_after_any_byte_is_noticed(kind: str) -> None:
    session = await recorded(kind)

    async with nothing_left():
        await cut_at(session, offsets(kind, session, Cut.STALL), Cut.STALL)


async def test_a_recording_is_played_as_it_was() -> None:
    session = await recorded("qresync")

    assert await cut(session, size(session.recording), Cut.CLOSE) == (session.steps, None)
