"""Compressed streams: the same content however they are cut, and no more of it at once than is asked for."""

import random
import zlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imap.cutting import responses
from imap.deflating import OK, all_of, compressed, inflated

from postroom.imap import commands
from postroom.imap.connection import Completed, Connection, Event, State
from postroom.imap.deflate import PIECE, Deflate
from postroom.imap.errors import LocalError, RemoteError
from postroom.imap.responses import Response

SAID = (
    b"* 3 EXISTS\r\n",
    b"* 1 FETCH (UID 7 BODY[] {11}\r\nHello\r\nyou\n)\r\n",
    b"* OK [UIDNEXT 9] {5}\r\n* 2 EXPUNGE\r\n",
)
PREAUTH = b"* PREAUTH hi\r\n"


def asked() -> Connection:
    """A connection that has asked for compression and waits for the answer."""
    connection = Connection()
    connection.receive(PREAUTH)
    connection.send(commands.compress())
    assert connection.outgoing() == b"P1 COMPRESS DEFLATE\r\n"
    return connection


def heard(stream: bytes, cuts: list[int]) -> list[Event]:
    """What a connection is told by a stream of which everything behind the OK is compressed."""
    connection, deflate = asked(), Deflate()
    events: list[Event] = []
    edges = [0, *sorted(cuts), len(stream)]
    for start, end in pairwise(edges):
        data = stream[start:end]
        if not connection.compressed:
            events += connection.receive(data)
            data = connection.rest()
        deflate.put(data)
        events += connection.receive(all_of(deflate))
    return events


def only_responses(events: list[Event]) -> list[Response]:
    return [event for event in events if not isinstance(event, Completed)]


def test_a_stream_cut_anywhere_says_the_same() -> None:
    plain, stream = responses(b"".join(SAID)), OK + compressed(*SAID)
    for cut in range(len(stream) + 1):
        assert only_responses(heard(stream, [cut])) == plain
    assert only_responses(heard(stream, list(range(len(stream))))) == plain


@given(st.lists(st.sampled_from(SAID), max_size=8), st.data())
@settings(max_examples=50)
def test_any_cuts_give_the_same_responses_as_without_compression(
    said: list[bytes], data: st.DataObject
) -> None:
    before = b"* 5 EXISTS\r\n"
    stream = before + OK + compressed(*said)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=6))
    assert only_responses(heard(stream, cuts)) == responses(before + b"".join(said))


@given(st.binary(max_size=2000), st.integers(1, 50))
@settings(max_examples=50)
def test_content_comes_out_as_it_went_in(content: bytes, times: int) -> None:
    deflate = Deflate()
    deflate.put(compressed(content * times))
    assert all_of(deflate) == content * times


def test_what_we_send_can_be_read_at_once() -> None:
    deflate = Deflate()
    sent: list[bytes] = []
    for n in range(3):
        sent.append(deflate.send(b"P%d NOOP\r\n" % n))
        assert inflated(sent).endswith(b"P%d NOOP\r\n" % n)


def test_a_bomb_goes_off_one_piece_at_a_time() -> None:
    deflate, size = Deflate(), 50_000_000
    bomb = compressed(bytes(size))
    assert len(bomb) < size / 900
    deflate.put(bomb)
    pieces = 0
    while deflate.pending:
        assert len(deflate.piece()) <= PIECE
        pieces += 1
    assert pieces >= size // PIECE


@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 1, 2 * PIECE])
def test_nothing_is_left_behind_at_the_edge_of_a_piece(size: int) -> None:
    deflate, content = Deflate(), random.Random(size).randbytes(size)
    deflate.put(compressed(content))
    assert all_of(deflate) == content


def test_content_that_was_not_flushed_waits_for_its_end() -> None:
    squeeze, deflate = zlib.compressobj(wbits=-15), Deflate()
    deflate.put(squeeze.compress(b"* 3 EXISTS\r\n"))
    assert all_of(deflate) == b""
    deflate.put(squeeze.flush(zlib.Z_SYNC_FLUSH))
    assert all_of(deflate) == b"* 3 EXISTS\r\n"


def test_the_end_of_the_stream_is_seen_and_nothing_behind_it_is_read() -> None:
    deflate = Deflate()
    deflate.put(compressed(b"* BYE\r\n", flush=zlib.Z_FINISH) + b"* 9 EXISTS\r\n")
    assert all_of(deflate) == b"* BYE\r\n"
    assert deflate.ended
    assert not deflate.pending


@pytest.mark.parametrize(
    "data", [b"\xff" * 20, b"* 3 EXISTS\r\n", zlib.compress(b"x" * 50), compressed(b"y" * 99)[1:]]
)
def test_what_is_not_compressed_is_an_error_of_the_server(data: bytes) -> None:
    deflate = Deflate()
    deflate.put(data)
    with pytest.raises(RemoteError, match="compressed data"):
        all_of(deflate)


@pytest.mark.parametrize("kind", [b"NO [COMPRESSIONACTIVE] no", b"BAD what"])
def test_a_server_that_refuses_goes_on_in_clear(kind: bytes) -> None:
    connection = asked()
    events = connection.receive(b"P1 " + kind + b"\r\n* 3 EXISTS\r\n* 1 EXPUNGE\r\n")
    assert not connection.compressed
    assert connection.rest() == b""
    assert only_responses(events)[-2:] == responses(b"* 3 EXISTS\r\n* 1 EXPUNGE\r\n")


def test_a_literal_before_the_answer_may_hold_what_looks_like_it() -> None:
    lie = b"* 1 FETCH (UID 7 BODY[] {17}\r\n" + OK + b")\r\n"
    events = heard(lie + OK + compressed(SAID[0]), [])
    assert only_responses(events) == responses(lie + SAID[0])


def test_nothing_is_sent_behind_the_command_before_its_answer() -> None:
    connection = asked()
    connection.send(commands.noop())
    assert connection.outgoing() == b""
    connection.receive(OK)
    assert connection.outgoing() == b"P2 NOOP\r\n"


def test_compression_comes_after_login_and_once() -> None:
    early = Connection()
    early.receive(b"* OK hi\r\n")
    with pytest.raises(LocalError, match="after login, once"):
        early.send(commands.compress())
    connection = asked()
    connection.receive(OK)
    with pytest.raises(LocalError, match="after login, once"):
        connection.send(commands.compress())
    assert connection.state is State.AUTHENTICATED
