"""A session against a server that plays a script, over a real socket."""

import asyncio
import errno
import ssl
from contextlib import aclosing
from io import BytesIO

import pytest
from imap.scripted import serving

from postroom.imap import aio, commands
from postroom.imap.connection import Completed
from postroom.imap.errors import (
    AuthRefused,
    CommandFailed,
    Desynchronised,
    Disconnected,
    Insecure,
    LimitExceeded,
    LocalError,
)
from postroom.imap.responses import Fetch
from postroom.imap.uids import UidSet

WELCOME = """
S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready
"""
INBOX = """
C: TAG SELECT "INBOX"
S: * 3 EXISTS
S: * OK [UIDVALIDITY 7] fine
S: TAG OK [READ-WRITE] done
"""
GOODBYE = """
C: TAG LOGOUT
S: * BYE
S: TAG OK
"""


async def test_a_session_logs_in_and_asks_again_what_the_server_can_do() -> None:
    script = (
        WELCOME
        + """
    C: TAG AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=
    S: TAG OK welcome
    C: TAG CAPABILITY
    S: * CAPABILITY IMAP4rev1 UIDPLUS
    S: TAG OK
    """
    )
    async with serving(script + GOODBYE) as server, aio.connect("127.0.0.1", server.port) as session:
        await session.log_in("ann", "secret")

        assert session.capabilities == {"IMAP4REV1", "UIDPLUS"}


async def test_what_ends_a_session_behind_a_completion_is_what_the_next_command_meets() -> None:
    script = WELCOME + "C: TAG NOOP\nS: TAG OK\\r\\nTAG9 OK not asked yet"
    async with serving(script) as server, aio.connect("127.0.0.1", server.port) as session:
        await session.run(commands.noop())
        with pytest.raises(Desynchronised):
            await session.run(commands.noop())


async def test_a_wrong_password_is_refused_and_shown_nowhere() -> None:
    script = (
        WELCOME
        + """
    C: TAG AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=
    S: TAG NO [AUTHENTICATIONFAILED] no such thing as AGFubgBzZWNyZXQ= or secret
    """
    )
    async with serving(script + GOODBYE) as server, aio.connect("127.0.0.1", server.port) as session:
        with pytest.raises(AuthRefused) as caught:
            await session.log_in("ann", "secret")

        assert "secret" not in str(caught.value)
        assert "AGFubgBzZWNyZXQ=" not in str(caught.value)


async def test_a_fetch_is_streamed() -> None:
    script = (
        WELCOME
        + INBOX
        + """
    C: TAG UID FETCH 1:2 (UID BODY.PEEK[])
    S: * 1 FETCH (UID 1 BODY[] {3}
    S: abc)
    S: * 2 FETCH (UID 2 BODY[] {3}
    S: xyz)
    S: TAG OK done
    """
    )
    async with serving(script + GOODBYE) as server, aio.connect("127.0.0.1", server.port) as session:
        await session.run(commands.select(b"INBOX"))
        seen = [said async for said in session.stream(commands.uid_fetch("1:2", ["BODY.PEEK[]"]))]

        assert [said.body for said in seen if isinstance(said, Fetch)] == [b"abc", b"xyz"]


async def test_a_command_that_fails_leaves_its_neighbours_alone() -> None:
    script = (
        WELCOME
        + INBOX
        + """
    C: TAG UID FETCH 1 (UID FLAGS)
    S: TAG NO [UNAVAILABLE] cannot
    C: TAG UID FETCH 2 (UID FLAGS)
    S: * 2 FETCH (UID 2 FLAGS ())
    S: TAG OK done
    """
    )
    async with serving(script + GOODBYE) as server, aio.connect("127.0.0.1", server.port) as session:
        await session.run(commands.select(b"INBOX"))
        windows = [commands.uid_fetch(UidSet.of([uid]), ["FLAGS"]) for uid in (1, 2)]
        events = [event async for event in session.pipeline(windows)]

        ended = [event for event in events if isinstance(event, Completed)]
        assert [type(one.failure) for one in ended] != [type(None), type(None)]
        assert isinstance(ended[0].failure, CommandFailed)
        assert ended[1].failure is None
        assert session.usable


async def test_what_arrives_together_with_a_bye_is_heard() -> None:
    script = (
        WELCOME
        + INBOX
        + r"""
    C: TAG UID FETCH 1 (UID FLAGS)
    S: * 1 FETCH (UID 1)\r\nTAG OK done\r\n* 2 FETCH (UID 2)\r\n* BYE going down
    <close>
    """
    )
    async with serving(script) as server, aio.connect("127.0.0.1", server.port) as session:
        await session.run(commands.select(b"INBOX"))
        windows = [commands.uid_fetch(UidSet.of([uid]), ["FLAGS"]) for uid in (1, 2, 3)]
        events = session.pipeline(windows, window=2)
        seen = [await anext(events) for _ in range(4)]
        with pytest.raises(Disconnected, match="going down"):
            await anext(events)

        assert [event.uid for event in seen if isinstance(event, Fetch)] == [1, 2]


async def test_a_cancelled_command_spoils_the_session() -> None:
    script = (
        WELCOME
        + INBOX
        + """
    C: TAG UID FETCH 1:* (UID FLAGS)
    S: * 1 FETCH (UID 1 FLAGS ())
    """
    )
    async with serving(script) as server, aio.connect("127.0.0.1", server.port) as session:
        await session.run(commands.select(b"INBOX"))
        async with aclosing(session.stream(commands.uid_fetch("1:*", ["FLAGS"]))) as responses:
            async for _ in responses:
                break

        assert not session.usable
        with pytest.raises(LocalError):
            await session.run(commands.noop())


async def test_a_session_in_use_refuses_a_second_command() -> None:
    script = (
        WELCOME
        + """
    C: TAG NOOP
    """
    )
    async with serving(script) as server, aio.connect("127.0.0.1", server.port) as session:
        first = asyncio.create_task(session.run(commands.noop()))
        await asyncio.sleep(0)
        with pytest.raises(LocalError):
            await session.run(commands.noop())
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first

        assert not session.usable


async def test_a_greeting_with_bye_ends_in_one_clear_sentence() -> None:
    async with serving("S: * BYE overloaded\n<close>") as server:
        with pytest.raises(Disconnected, match="the server does not want us: overloaded"):
            async with aio.connect("127.0.0.1", server.port):
                pass


async def test_a_connection_that_breaks_fails_the_command() -> None:
    script = (
        WELCOME
        + """
    C: TAG NOOP
    <close>
    """
    )
    async with serving(script) as server, aio.connect("127.0.0.1", server.port) as session:
        with pytest.raises(Disconnected):
            await session.run(commands.noop())

        assert not session.usable


async def test_starttls_that_is_not_offered_is_an_error_when_required() -> None:
    tls = ssl.create_default_context()
    async with serving(WELCOME) as server:
        with pytest.raises(Insecure):
            async with aio.connect("127.0.0.1", server.port, tls=tls, starttls=aio.StartTls.REQUIRE):
                pass


async def test_a_command_that_takes_too_long_spoils_the_session() -> None:
    script = WELCOME + "C: TAG NOOP"
    async with serving(script) as server, aio.connect("127.0.0.1", server.port) as session:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await session.run(commands.noop())

        assert not session.usable


async def test_what_the_server_says_unasked_comes_with_the_next_command() -> None:
    script = WELCOME + INBOX + "S: * 4 EXISTS\nC: TAG NOOP\nS: TAG OK\n"
    async with serving(script + GOODBYE) as server, aio.connect("127.0.0.1", server.port) as session:
        await session.run(commands.select(b"INBOX"))
        done = await session.run(commands.noop())

        assert session.selected is not None
        assert session.selected.exists == 4
        assert session.usable
        assert done.failure is None


async def test_a_full_disk_is_an_error_of_its_own() -> None:
    def full(_: int) -> BytesIO:
        raise OSError(errno.ENOSPC, "No space left on device")

    script = WELCOME + INBOX + "C: TAG UID FETCH 1 (UID BODY.PEEK[])\nS: * 1 FETCH (BODY[] {2000000}\n"
    async with (
        serving(script) as server,
        aio.connect("127.0.0.1", server.port, open_spool=full) as session,
    ):
        await session.run(commands.select(b"INBOX"))
        with pytest.raises(OSError, match="No space left"):
            await session.run(commands.uid_fetch("1", ["BODY.PEEK[]"]))

        assert not session.usable


async def test_a_flood_of_responses_is_not_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aio, "MAX_COLLECTED", 1000)
    script = WELCOME + "C: TAG NOOP\n" + "S: * 1 EXISTS\n" * 200
    async with serving(script) as server, aio.connect("127.0.0.1", server.port) as session:
        with pytest.raises(LimitExceeded):
            await session.run(commands.noop())

        assert not session.usable


async def test_a_server_that_knows_us_already_gets_no_password() -> None:
    script = "S: * PREAUTH [CAPABILITY IMAP4rev1] welcome\n" + GOODBYE
    async with serving(script) as server, aio.connect("127.0.0.1", server.port) as session:
        await session.log_in("ann", "secret")

    assert not any(b"secret" in line for line in server.received)
