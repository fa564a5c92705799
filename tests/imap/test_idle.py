"""IDLE and NOTIFY: whatever comes is told, whenever it comes, and the session goes on afterwards."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imap.scripted import serving
from imap.talking import INBOX, kinds, talk

from postroom.imap import aio, commands
from postroom.imap.aio import Session
from postroom.imap.commands import Events
from postroom.imap.connection import Completed, Connection, Event, State
from postroom.imap.errors import CommandFailed, Desynchronised, Disconnected, LimitExceeded, LocalError
from postroom.imap.responses import Exists, Expunge, FolderStatus, Status

OPEN = """
S: * PREAUTH [CAPABILITY IMAP4rev1 IDLE NOTIFY] ready
C: TAG SELECT "INBOX"
S: * 3 EXISTS
S: TAG OK [READ-WRITE] done
"""
GOODBYE = """
C: TAG LOGOUT
S: * BYE
S: TAG OK
"""
LIMIT = 10


@dataclass
class Ear:
    """Keeps what is told."""

    heard: list[Event | Exception] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, event: Event | Exception) -> None:
        self.heard.append(event)
        self._news.set()

    async def until(self, count: int) -> Sequence[Event | Exception]:
        """What was told, once there are so many."""
        async with asyncio.timeout(LIMIT):
            while len(self.heard) < count:
                self._news.clear()
                await self._news.wait()
        return self.heard


async def opened(session: Session) -> Ear:
    await session.run(commands.select(b"INBOX"))
    return Ear()


async def test_what_comes_while_a_session_idles_is_told_and_it_takes_commands_again() -> None:
    script = """
    C: TAG IDLE
    S: * 4 EXISTS
    S: + idling
    S: * 2 EXPUNGE
    C: DONE
    S: * 4 EXISTS
    S: TAG OK done
    C: TAG NOOP
    S: TAG OK
    """
    async with serving(OPEN + script + GOODBYE) as server, aio.connect("127.0.0.1", server.port) as session:
        ear = await opened(session)
        await session.idle(ear)
        await ear.until(2)
        assert (session.usable, session.listening) == (False, True)
        with pytest.raises(LocalError):
            await session.run(commands.noop())

        await session.done()
        await session.run(commands.noop())

        assert ear.heard == [Exists(4), Expunge(2), Exists(4)]
        assert session.selected is not None
        assert session.selected.exists == 4


async def test_what_comes_between_the_last_answer_and_idle_is_not_lost() -> None:
    script = "C: TAG NOOP\nS: TAG OK\nS: * 4 EXISTS\nC: TAG IDLE\nS: + idling\nC: DONE\nS: TAG OK" + GOODBYE
    async with serving(OPEN + script) as server, aio.connect("127.0.0.1", server.port) as session:
        ear = await opened(session)
        done = await session.run(commands.noop())
        await session.idle(ear)
        await session.done()

        assert [*done.responses, *ear.heard] == [Exists(4)]


@pytest.mark.parametrize("answer", ["NO not now", "BAD what"])
async def test_idle_that_is_refused_leaves_the_session_as_it_was(answer: str) -> None:
    script = f"C: TAG IDLE\nS: TAG {answer}\nC: TAG NOOP\nS: * 4 EXISTS\nS: TAG OK" + GOODBYE
    async with serving(OPEN + script) as server, aio.connect("127.0.0.1", server.port) as session:
        ear = await opened(session)
        with pytest.raises(CommandFailed):
            await session.idle(ear)
        done = await session.run(commands.noop())

        assert done.responses == (Exists(4),)
        assert ear.heard == []


async def test_a_server_that_ends_idle_by_itself_is_heard_and_the_session_goes_on() -> None:
    script = "C: TAG IDLE\nS: + idling\nS: TAG OK enough\nC: TAG NOOP\nS: TAG OK" + GOODBYE
    async with serving(OPEN + script) as server, aio.connect("127.0.0.1", server.port) as session:
        ear = await opened(session)
        await session.idle(ear)
        (ended,) = await ear.until(1)
        assert isinstance(ended, Completed)

        await session.done()
        await session.run(commands.noop())


async def test_the_end_of_a_session_that_idles_is_told_once_and_last() -> None:
    script = "C: TAG IDLE\nS: + idling\n<wait>\nS: * 4 EXISTS\nS: * BYE going down\n<close>"
    async with serving(OPEN + script) as server, aio.connect("127.0.0.1", server.port) as session:
        ear = await opened(session)
        await session.idle(ear)
        server.go.set()
        exists, bye, end = await ear.until(3)

        assert exists == Exists(4)
        assert isinstance(bye, Status)
        assert isinstance(end, Disconnected)
        assert (end.said, session.listening, session.usable) == ("going down", False, False)
        with pytest.raises(Disconnected):
            await session.done()
    assert len(ear.heard) == 3


async def test_a_connection_that_is_cut_in_idle_is_told() -> None:
    script = "C: TAG IDLE\nS: + idling\n<wait>\n<close>"
    async with serving(OPEN + script) as server, aio.connect("127.0.0.1", server.port) as session:
        ear = await opened(session)
        await session.idle(ear)
        server.go.set()
        (end,) = await ear.until(1)

        assert isinstance(end, Disconnected)


async def test_bye_in_place_of_an_invitation_is_raised_and_not_told() -> None:
    script = "C: TAG IDLE\nS: * BYE going down\n<close>"
    async with serving(OPEN + script) as server, aio.connect("127.0.0.1", server.port) as session:
        ear = await opened(session)
        with pytest.raises(Disconnected):
            await session.idle(ear)
    assert [one for one in ear.heard if isinstance(one, Exception)] == []


async def test_done_that_is_never_answered_costs_the_session_and_tells_nothing() -> None:
    script = "C: TAG IDLE\nS: + idling\nC: DONE\nS: * 4 EXISTS"
    async with serving(OPEN + script) as server, aio.connect("127.0.0.1", server.port) as session:
        ear = await opened(session)
        await session.idle(ear)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await session.done()

        assert (session.usable, session.listening) == (False, False)
    assert [one for one in ear.heard if isinstance(one, Exception)] == []


async def test_a_session_that_is_left_while_it_idles_says_goodbye_and_tells_nothing_of_it() -> None:
    script = "C: TAG IDLE\nS: + idling\nC: DONE\nS: TAG OK" + GOODBYE
    async with serving(OPEN + script) as server:
        async with aio.connect("127.0.0.1", server.port) as session:
            ear = await opened(session)
            await session.idle(ear)
        await asyncio.wait_for(server.done.wait(), LIMIT)

        assert len(server.received) == 4
        assert ear.heard == []


async def test_after_notify_everything_is_told_without_a_command() -> None:
    script = """
    C: TAG NOTIFY SET STATUS (personal (MessageNew MessageExpunge))
    S: * STATUS INBOX (MESSAGES 3)
    S: TAG OK\\r\\n* STATUS Archive (MESSAGES 8)
    C: TAG NOOP
    S: TAG OK
    <wait>
    S: * STATUS INBOX (MESSAGES 4)
    """
    wanted = commands.notify(Events("personal", ["MessageNew", "MessageExpunge"]), status=True)
    async with serving(OPEN + script + GOODBYE) as server, aio.connect("127.0.0.1", server.port) as session:
        ear = await opened(session)
        done = await session.run(wanted)
        await session.listen(ear)
        await session.done()
        await session.run(commands.noop())
        await session.listen(ear)
        server.go.set()
        heard = [*done.responses, *await ear.until(1)]

        folders = [(one.name, one.items["MESSAGES"]) for one in heard if isinstance(one, FolderStatus)]
        assert folders == [(b"INBOX", 3), (b"Archive", 8), (b"INBOX", 4)]


async def test_much_that_waits_does_not_keep_idle_from_beginning() -> None:
    """A megabyte that nobody takes pauses reading; who listens takes it."""
    flood = f"S: * OK {'x' * 100_000}\n" * 25
    script = f"C: TAG NOOP\nS: TAG OK\n{flood}C: TAG IDLE\nS: + idling\nC: DONE\nS: TAG OK" + GOODBYE
    async with serving(OPEN + script) as server, aio.connect("127.0.0.1", server.port) as session:
        ear = await opened(session)
        done = await session.run(commands.noop())
        while not session._wire._waiting > 1 << 20:
            await session._wire.news()
        async with asyncio.timeout(LIMIT):
            await session.idle(ear)
            await session.done()

        assert len(done.responses) + len(ear.heard) == 25


@pytest.mark.parametrize("said", ["* OK " + "x" * 300_000, "* 1 FETCH (BODY[] {300000}"])
async def test_what_nobody_has_asked_for_may_only_be_small(said: str) -> None:
    script = f"C: TAG IDLE\nS: + idling\n<wait>\nS: {said}"
    async with serving(OPEN + script) as server, aio.connect("127.0.0.1", server.port) as session:
        ear = await opened(session)
        await session.idle(ear)
        server.go.set()
        (end,) = await ear.until(1)

    assert isinstance(end, LimitExceeded)


async def test_what_is_asked_for_after_idle_may_be_large() -> None:
    large = "x" * 300_000
    script = (
        f"C: TAG IDLE\nS: + idling\nC: DONE\nS: TAG OK\nC: TAG NOOP\nS: * OK {large}\nS: TAG OK" + GOODBYE
    )
    async with serving(OPEN + script) as server, aio.connect("127.0.0.1", server.port) as session:
        ear = await opened(session)
        await session.idle(ear)
        await session.done()
        (said,) = (await session.run(commands.noop())).responses

        assert isinstance(said, Status)
        assert said.text == large


async def test_a_session_that_listens_holds_no_task() -> None:
    script = "C: TAG IDLE\nS: + idling\nC: DONE\nS: TAG OK" + GOODBYE
    async with serving(OPEN + script) as server, aio.connect("127.0.0.1", server.port) as session:
        ear = await opened(session)
        before = len(asyncio.all_tasks())
        await session.idle(ear)

        assert len(asyncio.all_tasks()) == before


def test_the_grammar_of_notify() -> None:
    def written(*groups: Events, status: bool = False) -> bytes:
        (line,) = commands.encode(commands.notify(*groups, status=status), b"a", -1)
        return line.removesuffix(b"\r\n")

    new = ["MessageNew", "MessageExpunge"]
    assert written() == b"a NOTIFY NONE"
    assert written(Events("selected", new), Events("personal", ["MailboxName"]), status=True) == (
        b"a NOTIFY SET STATUS (selected (MessageNew MessageExpunge)) (personal (MailboxName))"
    )
    assert written(Events("mailboxes", new, [b"INBOX", b'a "b']), Events("subtree", new, [b"Lists"])) == (
        b'a NOTIFY SET (mailboxes ("INBOX" "a \\"b") (MessageNew MessageExpunge))'
        b' (subtree ("Lists") (MessageNew MessageExpunge))'
    )


@pytest.mark.parametrize("wrong", ["personal (MessageNew) x", "a\r\nb", ""])
def test_what_is_no_word_cannot_be_asked_for(wrong: str) -> None:
    with pytest.raises(LocalError):
        commands.notify(Events(wrong, ["MessageNew"]))
    with pytest.raises(LocalError):
        commands.notify(Events("personal", [wrong]))


def idling() -> Connection:
    connection = Connection()
    talk(INBOX, connection, commands.select(b"INBOX"))
    talk("C: P2 IDLE\nS: + idling", connection, commands.idle())
    return connection


def test_done_is_said_once_and_only_to_a_server_that_has_agreed() -> None:
    connection = Connection()
    talk(INBOX, connection, commands.select(b"INBOX"))
    connection.send(commands.idle())
    assert connection.outgoing() == b"P2 IDLE\r\n"
    connection.done()
    assert connection.outgoing() == b""

    connection.receive(b"+ idling\r\n+ still here\r\n")
    connection.done()
    connection.done()
    connection.receive(b"+ still here\r\n")
    connection.done()
    assert connection.outgoing() == b"DONE\r\n"

    (done,) = connection.receive(b"P2 OK\r\n")
    assert isinstance(done, Completed)
    assert connection.idle


def test_idle_that_ends_before_it_began_is_out_of_step() -> None:
    connection = Connection()
    talk(INBOX, connection, commands.select(b"INBOX"))
    connection.send(commands.idle())
    connection.receive(b"P2 OK\r\n")

    assert connection.state is State.ENDED
    assert isinstance(connection.failure, Desynchronised)


def test_done_that_crosses_the_end_of_idle_does_no_harm() -> None:
    connection = idling()
    connection.done()
    connection.receive(b"P2 OK you have idled long enough\r\nDONE BAD what\r\n")

    assert connection.idle
    assert connection.state is State.SELECTED


def test_nothing_is_sent_while_idling() -> None:
    connection = idling()
    connection.send(commands.noop())
    assert connection.outgoing() == b""

    connection.done()
    assert connection.outgoing() == b"DONE\r\n"
    connection.receive(b"P2 OK\r\n")
    assert connection.outgoing() == b"P3 NOOP\r\n"


SAID = (
    b"* 6 EXISTS\r\n* 2 EXPUNGE\r\n* VANISHED 4:5\r\n* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (100))\r\n"
    b"* STATUS {7}\r\nArchive (MESSAGES 3)\r\n+ still\r\n* OK [NOTIFICATIONOVERFLOW] too much\r\n"
    b'* LIST () "/" "New" ("OLDNAME" ("Old"))\r\n* OK still here\r\nP2 OK done\r\n'
)


@given(st.sets(st.integers(1, len(SAID) - 1)))
def test_however_the_bytes_are_cut_the_same_is_said(cuts: set[int]) -> None:
    whole, cut = idling(), idling()
    edges = [0, *sorted(cuts), len(SAID)]

    said = [event for a, b in pairwise(edges) for event in cut.receive(SAID[a:b])]

    assert said == whole.receive(SAID)
    assert kinds(said)[-1] == "Completed"
    assert cut.selected == whole.selected
