"""Back-pressure: the server is read only as quickly as its responses are taken."""

import asyncio

import pytest

from postroom.imap.connection import Connection
from postroom.imap.errors import Disconnected
from postroom.imap.wire import PAUSE_ABOVE, Wire

LINE = b"* OK " + b"x" * 10_000 + b"\r\n"


class Recorder(asyncio.Transport):
    """A transport that goes nowhere and remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True
        self.closing = False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write(self, data: object) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True


def connected() -> tuple[Wire, Recorder]:
    wire, transport = Wire(Connection()), Recorder()
    wire.connection_made(transport)
    wire.data_received(b"* PREAUTH hi\r\n")
    return wire, transport


async def test_reading_pauses_while_nobody_takes_and_goes_on_when_somebody_does() -> None:
    wire, transport = connected()
    arrived = 0
    while transport.reading:
        wire.data_received(LINE)
        arrived += 1

    assert arrived * len(LINE) <= PAUSE_ABOVE + len(LINE)
    taken = 0
    while not transport.reading:
        taken += len(await wire.next())
    assert taken <= arrived + 1


async def test_what_arrived_before_the_end_is_still_given() -> None:
    wire, _ = connected()
    wire.data_received(LINE)
    wire.eof_received()
    wire.connection_lost(None)

    assert len(await wire.next()) == 1
    assert len(await wire.next()) == 1
    with pytest.raises(Disconnected):
        await wire.next()


async def test_a_waiting_reader_is_woken_by_the_end() -> None:
    wire, _ = connected()
    await wire.next()
    waiting = asyncio.create_task(wire.next())
    await asyncio.sleep(0)
    wire.connection_lost(ConnectionResetError("reset by peer"))

    with pytest.raises(Disconnected, match="reset by peer"):
        await waiting


async def test_a_server_that_does_not_read_holds_the_writer() -> None:
    wire, _ = connected()
    wire.pause_writing()
    waiting = asyncio.create_task(wire.send())
    await asyncio.sleep(0)

    assert not waiting.done()
    wire.resume_writing()
    await waiting
