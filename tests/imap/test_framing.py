"""However the bytes arrive, the responses are the same; and none costs more than we allow."""

import gc
import os
import tracemalloc
from io import BytesIO

import pytest
from costs import seconds
from hypothesis import given, settings
from hypothesis import strategies as st
from imap.cutting import frames

from postroom.imap.errors import LimitExceeded
from postroom.imap.framing import Frame, Framer, Limits, Spool

STREAM = (
    b"* OK hi\r\n"
    b"* 1 FETCH (UID 7 BODY[] {9}\r\na\r\n{3}\r\nb FLAGS (\\Seen) BODY[1] ~{0}\r\n)\r\n"
    b"* LIST () {1+}\r\n/ {3}\r\na}b\r\n"
    b"P1 OK done {5}\r\n"
)
FRAMES = [
    Frame(b"* OK hi"),
    Frame(b"* 1 FETCH (UID 7 BODY[] {9}\r\n FLAGS (\\Seen) BODY[1] ~{0}\r\n)", (b"a\r\n{3}\r\nb", b"")),
    Frame(b"* LIST () {1+}\r\n {3}\r\n", (b"/", b"a}b")),
    Frame(b"P1 OK done {5}"),
]
LINES = st.binary(max_size=12).map(lambda raw: raw.replace(b"\r\n", b"").replace(b"}", b""))
LITERALS = st.binary(max_size=20)


def test_a_literal_is_kept_beside_the_text() -> None:
    assert frames(STREAM) == FRAMES


@pytest.mark.parametrize("cut", range(1, len(STREAM)))
def test_every_single_cut_gives_the_same_frames(cut: int) -> None:
    assert frames(STREAM, [cut]) == FRAMES


@given(st.sets(st.integers(1, len(STREAM) - 1)))
def test_the_way_bytes_arrive_does_not_change_the_frames(cuts: set[int]) -> None:
    assert frames(STREAM, cuts) == FRAMES


@settings(max_examples=60)
@given(st.lists(st.tuples(LINES, st.lists(st.tuples(LITERALS, LINES), max_size=3)), max_size=6), st.data())
def test_what_is_put_together_comes_apart_again(
    parts: list[tuple[bytes, list[tuple[bytes, bytes]]]], data: st.DataObject
) -> None:
    stream, expected = b"", []
    for first, following in parts:
        text = b"* X " + first
        for literal, line in following:
            text += b"{%d}\r\n" % len(literal) + line
            first += b"{%d}\r\n" % len(literal) + literal + line
        stream += b"* X " + first + b"\r\n"
        expected.append(Frame(text, tuple(literal for literal, _ in following)))
    cuts = data.draw(st.sets(st.integers(0, len(stream))))

    assert frames(stream, cuts) == expected


@given(st.binary(max_size=300), st.sets(st.integers(0, 300)))
def test_garbage_is_cut_the_same_way_too(stream: bytes, cuts: set[int]) -> None:
    limits = Limits(line=1000, response=2000, literal=1000, spool_over=100)

    def outcome(at: set[int]) -> list[Frame] | str:
        try:
            return frames(stream, {min(cut, len(stream)) for cut in at}, limits)
        except LimitExceeded as error:
            return str(error)

    assert outcome(cuts) == outcome(set())


@pytest.mark.parametrize(
    ("stream", "limit"),
    [
        (b"* 1 FETCH (BODY[] {4294967296}\r\n", "literal"),
        (b"* 1 FETCH (BODY[] {" + b"9" * 5000 + b"}\r\n", "literal"),
        (b"x" * (1 << 20) + b"x", "line"),
        (b"* 1 FETCH (" + (b"BODY[1] {1000000}\r\n" + b"x" * 1_000_000) * 34, "response"),
        (b"* 1 FETCH (" + b"".join(b"B {1}\r\nx" + b"y" * 60_000 for _ in range(600)), "response"),
    ],
)
def test_what_is_too_large_is_a_clear_error(stream: bytes, limit: str) -> None:
    with pytest.raises(LimitExceeded) as caught:
        frames(stream)

    assert caught.value.limit == limit


def test_a_line_of_a_gigabyte_is_refused_at_its_first_megabyte() -> None:
    framer = Framer()
    for _ in range(16):
        assert list(framer.feed(b"x" * 65536)) == []

    with pytest.raises(LimitExceeded):
        list(framer.feed(b"x" * 65536))


def test_spooled_literals_together_stay_below_the_limit_of_one() -> None:
    limits = Limits(literal=1000, spool_over=100)
    with pytest.raises(LimitExceeded):
        frames(b"* 1 FETCH (BODY[1] {600}\r\n" + b"x" * 600 + b" BODY[2] {600}\r\n", limits=limits)


def test_what_came_before_the_excess_is_given() -> None:
    found = Framer(Limits(literal=10)).feed(b"* 1 EXISTS\r\n* 1 FETCH (BODY[] {11}\r\n")

    assert next(found) == Frame(b"* 1 EXISTS")
    with pytest.raises(LimitExceeded):
        next(found)


def test_a_large_literal_goes_to_a_spool_as_it_arrives() -> None:
    framer = Framer(Limits(spool_over=1000))
    assert list(framer.feed(b"* 1 FETCH (BODY[] {5000}\r\n")) == []
    for _ in range(50):
        assert list(framer.feed(b"y" * 100)) == []
    (frame,) = framer.feed(b")\r\n")
    (spool,) = frame.literals

    assert isinstance(spool, Spool)
    assert spool.size == 5000
    assert spool.file.read() == b"y" * 5000


def test_the_stream_is_between_responses_or_it_is_not() -> None:
    framer = Framer()
    states = []
    for piece in (b"* OK", b" hi\r", b"\n", b"* X {3}\r\n", b"ab", b"c", b"\r\n"):
        list(framer.feed(piece))
        states.append(framer.empty)

    assert states == [False, False, True, False, False, False, True]


@pytest.mark.parametrize(
    "piece", [b"x", b"\n", b"\r", b"}\n"], ids=["letters", "line feeds", "carriage returns", "braces"]
)
def test_a_line_in_tiny_pieces_costs_its_length(piece: bytes) -> None:
    def feed(count: int) -> None:
        framer = Framer()
        for _ in range(count):
            list(framer.feed(piece))

    def cost(count: int) -> float:
        return seconds(lambda: feed(count))

    assert cost(160_000) < 16 * cost(40_000)  # four times as much; quadratic would be 16


def test_many_lines_at_once_cost_their_length() -> None:
    def cost(count: int) -> float:
        stream = b"* OK {x}\r\n" * count + b"* 1 EXISTS\r\n" * count
        return seconds(lambda: frames(stream))

    assert cost(40_000) < 16 * cost(10_000)


def test_a_message_of_200_megabytes_costs_no_memory() -> None:
    chunk, size = b"z" * (1 << 16), 200 << 20
    with open(os.devnull, "r+b") as nowhere:
        framer = Framer(open_spool=lambda _: nowhere)
        list(framer.feed(b"* 1 FETCH (BODY[] {%d}\r\n" % size))
        tracemalloc.start()
        for _ in range(size // len(chunk)):
            list(framer.feed(chunk))
        (_, peak) = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        (frame,) = framer.feed(b")\r\n")

    assert isinstance(frame.literals[0], Spool)
    assert peak < 1 << 20


def test_a_forgotten_spool_closes_its_file() -> None:
    opened: list[BytesIO] = []

    def open_spool(_: int) -> BytesIO:
        opened.append(BytesIO())
        return opened[-1]

    framer = Framer(Limits(spool_over=1), open_spool)
    list(framer.feed(b"* 1 FETCH (BODY[] {2}\r\nhi BODY[1] {9}\r\nnot all"))
    del framer
    gc.collect()

    assert [file.closed for file in opened] == [True, True]
