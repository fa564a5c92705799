"""A session that is compressed in the middle, with servers that mean harm."""

import asyncio
import tracemalloc
import zlib
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from imap.deflating import OK, compressed

from postroom.imap import aio, commands
from postroom.imap.aio import Session
from postroom.imap.connection import Connection
from postroom.imap.deflate import PIECE, RAW
from postroom.imap.errors import Disconnected, ImapError, LimitExceeded, RemoteError
from postroom.imap.framing import Limits, Spool
from postroom.imap.responses import Fetch
from postroom.imap.wire import AT_ONCE, PAUSE_ABOVE, Wire

Answer = Callable[[bytes, StreamWriter], Awaitable[None]]
LINE = b"* OK " + b"x" * 10_000 + b"\r\n"


@asynccontextmanager
async def deflating(answer: Answer) -> AsyncIterator[int]:
    """The port of a server that is compressed from the first command on, and lets `answer` say the rest."""

    async def converse(reader: StreamReader, writer: StreamWriter) -> None:
        inflate = zlib.decompressobj(RAW)
        writer.write(b"* PREAUTH [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE] hi\r\n")
        try:
            tag = (await reader.readline()).split()[0]
            writer.write(tag + b" OK deflating\r\n")
            while data := await reader.read(1 << 16):
                await answer(inflate.decompress(data).split(b" ")[0], writer)
        except OSError:
            pass  # the client has gone
        finally:
            writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def session(answer: Answer, limits: Limits | None = None) -> AsyncIterator[Session]:
    async with (
        deflating(answer) as port,
        aio.connect("127.0.0.1", port, limits=limits) as session,
    ):
        await session.compress()
        assert session.compressed
        yield session


async def test_a_server_that_talks_on_in_clear_is_an_error_and_no_silence() -> None:
    async def in_clear(tag: bytes, writer: StreamWriter) -> None:
        writer.write(tag + b" OK done\r\n")

    async with session(in_clear) as talking:
        with pytest.raises(RemoteError, match="compressed data cannot be read"):
            await talking.run(commands.noop())
        assert not talking.usable


async def test_data_that_breaks_in_the_middle_is_an_error_of_the_server() -> None:
    async def broken(_: bytes, writer: StreamWriter) -> None:
        writer.write(compressed(b"* 3 EXISTS\r\n") + b"\xff" * 50)

    async with session(broken) as talking:
        with pytest.raises(RemoteError, match="compressed data cannot be read"):
            await talking.run(commands.noop())


async def test_a_stream_that_ends_is_the_end_of_the_connection() -> None:
    async def ends(tag: bytes, writer: StreamWriter) -> None:
        writer.write(compressed(b"* 3 EXISTS\r\n", flush=zlib.Z_FINISH) + tag + b" OK done\r\n")

    async with session(ends) as talking:
        with pytest.raises(Disconnected):
            await talking.run(commands.noop())


async def test_a_connection_cut_in_a_compressed_literal_is_lost() -> None:
    async def cut(_: bytes, writer: StreamWriter) -> None:
        writer.write(compressed(b"* 1 FETCH (BODY[] {5000}\r\nabc"))
        writer.close()

    async with session(cut) as talking:
        with pytest.raises(Disconnected):
            await talking.run(commands.noop())


async def test_a_command_that_is_cancelled_closes_a_compressed_session() -> None:
    async def half(tag: bytes, writer: StreamWriter) -> None:
        writer.write(compressed(b"* 3 EXISTS\r\n" + tag)[:-3])

    async with session(half) as talking:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await talking.run(commands.noop())
        assert not talking.usable


@pytest.mark.parametrize(
    ("said", "limit"),
    [
        (b"* 1 FETCH (BODY[] {30000000}\r\n" + bytes(30_000_000), "literal"),
        (b"* OK " + b"x" * 30_000_000, "line"),
        (b"* LIST " + b"(\\A " * 10_000_000, "line"),
    ],
)
async def test_a_bomb_is_held_to_the_limits_of_what_it_stands_for(said: bytes, limit: str) -> None:
    async def bomb(_: bytes, writer: StreamWriter) -> None:
        writer.write(compressed(said))

    async with session(bomb, Limits(line=1 << 20, literal=20 << 20)) as talking:
        with pytest.raises(LimitExceeded, match=limit):
            await talking.run(commands.noop())


class Still(asyncio.Transport):
    """A transport that remembers whether it is read."""

    reading = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write(self, data: object) -> None: ...

    def is_closing(self) -> bool:
        return False

    def close(self) -> None: ...


def wired() -> tuple[Wire, Still]:
    """A compressed wire, from which the answer to COMPRESS was taken."""
    connection, transport = Connection(), Still()
    wire = Wire(connection)
    wire.connection_made(transport)
    wire.data_received(b"* PREAUTH hi\r\n")
    connection.send(commands.compress())
    wire.flush()
    wire.data_received(OK)
    return wire, transport


async def until_the_end(wire: Wire) -> tuple[int, ImapError]:
    """How much there is to take, and what ends it."""
    taken = 0
    while True:
        try:
            taken += len(await wire.next())
        except ImapError as end:
            return taken, end


async def test_a_bomb_of_many_responses_goes_off_only_as_quickly_as_they_are_taken() -> None:
    wire, transport = wired()
    await wire.next()
    await wire.next()
    count = 3000
    bomb = compressed(LINE * count)
    tracemalloc.start()
    wire.data_received(bomb)
    assert not transport.reading
    taken, most = 0, 0
    while taken < count:
        taken += len(await wire.next())
        most = max(most, tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert most < 4 * (PAUSE_ABOVE + PIECE)
    await asyncio.sleep(0)
    assert transport.reading
    assert taken == count


async def test_a_bomb_without_responses_lets_others_have_their_turn() -> None:
    wire, transport = wired()
    turns: list[bool] = []
    size = 20 * AT_ONCE
    wire.data_received(compressed(b"* 1 FETCH (UID 1 BODY[] {%d}\r\n" % size + bytes(size) + b")\r\n"))
    await wire.next()
    await wire.next()
    fetching = asyncio.create_task(wire.next())
    while not fetching.done():
        turns.append(transport.reading)
        await asyncio.sleep(0)
    (fetch,) = fetching.result()
    assert isinstance(fetch, Fetch)
    assert isinstance(fetch.body, Spool)
    assert fetch.body.size == size
    assert turns.count(False) >= size // AT_ONCE - 4
    fetch.body.close()
    await asyncio.sleep(0)
    assert transport.reading


async def test_what_was_said_before_the_end_is_given_though_it_is_still_compressed() -> None:
    wire, transport = wired()
    wire.data_received(compressed(LINE * 500))
    assert not transport.reading
    assert wire.eof_received()  # else the transport would be closed at once
    taken, end = await until_the_end(wire)
    assert isinstance(end, Disconnected)
    assert taken == 500 + 2  # with the greeting and the answer to COMPRESS


async def test_an_error_in_what_is_still_compressed_comes_in_its_turn() -> None:
    wire, _ = wired()
    wire.data_received(compressed(LINE * 500) + b"\xff" * 20)
    taken, end = await until_the_end(wire)
    assert "compressed data" in str(end)
    assert taken > 400
