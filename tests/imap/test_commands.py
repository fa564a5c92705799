"""One call is one command on the wire, whatever its arguments hold (T12)."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.imap import auth, commands, dates
from postroom.imap.commands import Command, Known
from postroom.imap.errors import LocalError
from postroom.imap.framing import Framer
from postroom.imap.tokens import tokenize
from postroom.imap.uids import UidSet

ONE = UidSet.of([1])


def wire(command: Command, non_sync: int = -1) -> bytes:
    return b"".join(commands.encode(command, b"P1", non_sync))


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (commands.capability(), b"CAPABILITY"),
        (commands.identify(name="postroom", version="1"), b'ID ("name" "postroom" "version" "1")'),
        (commands.identify(), b"ID NIL"),
        (commands.enable("QRESYNC", "UTF8=ACCEPT"), b"ENABLE QRESYNC UTF8=ACCEPT"),
        (commands.list_folders(), b'LIST "" "*"'),
        (
            commands.list_folders(special_use=True, status=["MESSAGES", "UIDNEXT"]),
            b'LIST "" "*" RETURN (SPECIAL-USE STATUS (MESSAGES UIDNEXT))',
        ),
        (commands.list_folders(b"%", reference=b"a/", subscribed=True), b'LIST "a/" "%" RETURN (SUBSCRIBED)'),
        (commands.status(b"a b", ["MESSAGES"]), b'STATUS "a b" (MESSAGES)'),
        (commands.select(b'a"\\b'), b'SELECT "a\\"\\\\b"'),
        (commands.select(b"INBOX", condstore=True, read_only=True), b'EXAMINE "INBOX" (CONDSTORE)'),
        (
            commands.select(b"INBOX", known=Known(7, 99, UidSet.of([1, 2, 3, 9]))),
            b'SELECT "INBOX" (QRESYNC (7 99 1:3,9))',
        ),
        (commands.select(b"INBOX", known=Known(7, 99)), b'SELECT "INBOX" (QRESYNC (7 99))'),
        (commands.uid_fetch("1:*", ["FLAGS"]), b"UID FETCH 1:* (UID FLAGS)"),
        (
            commands.uid_fetch(ONE, ["UID", "BODY.PEEK[HEADER.FIELDS (DATE)]<0.100>"]),
            b"UID FETCH 1 (UID BODY.PEEK[HEADER.FIELDS (DATE)]<0.100>)",
        ),
        (
            commands.uid_fetch("1:*", ["FLAGS"], changed_since=9, vanished=True),
            b"UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE 9 VANISHED)",
        ),
        (commands.uid_search("UNSEEN", "SINCE", "1-Jan-2020"), b"UID SEARCH UNSEEN SINCE 1-Jan-2020"),
        (commands.uid_search("1:*", returning=["ALL", "COUNT"]), b"UID SEARCH RETURN (ALL COUNT) 1:*"),
        (
            commands.uid_search("SUBJECT", "Grüße".encode()),
            b"UID SEARCH CHARSET UTF-8 SUBJECT {7}\r\nGr\xc3\xbc\xc3\x9fe",
        ),
        (commands.uid_store(ONE, "+", ["\\Seen", "$Junk"]), b"UID STORE 1 +FLAGS.SILENT (\\Seen $Junk)"),
        (
            commands.uid_store(ONE, "", [], silent=False, unchanged_since=5),
            b"UID STORE 1 (UNCHANGEDSINCE 5) FLAGS ()",
        ),
        (commands.uid_store_labels(ONE, "-", [b"a b"]), b'UID STORE 1 -X-GM-LABELS.SILENT ("a b")'),
        (commands.uid_copy(ONE, b"x"), b'UID COPY 1 "x"'),
        (commands.uid_move(ONE, b"x"), b'UID MOVE 1 "x"'),
        (commands.uid_expunge(ONE), b"UID EXPUNGE 1"),
        (
            commands.append(b"x", b"hello", flags=["\\Draft"], received=datetime(2020, 1, 2, 3, tzinfo=UTC)),
            b'APPEND "x" (\\Draft) "02-Jan-2020 03:00:00 +0000" {5}\r\nhello',
        ),
        (commands.rename(b"a", b"b"), b'RENAME "a" "b"'),
        (commands.select("Entwürfe".encode()), b"SELECT {9}\r\nEntw\xc3\xbcrfe"),
    ],
    ids=lambda value: value.name if isinstance(value, Command) else "",
)
def test_each_command_has_its_line(command: Command, expected: bytes) -> None:
    assert wire(command) == b"P1 " + expected + b"\r\n"


BYTES_IN: list[Callable[[bytes], Command]] = [
    commands.select,
    commands.create,
    commands.delete,
    commands.subscribe,
    commands.unsubscribe,
    commands.list_folders,
    commands.lsub,
    lambda raw: commands.rename(raw, raw),
    lambda raw: commands.list_folders(reference=raw),
    lambda raw: commands.status(raw, ["MESSAGES"]),
    lambda raw: commands.uid_search("SUBJECT", raw),
    lambda raw: commands.uid_copy(ONE, raw),
    lambda raw: commands.uid_move(ONE, raw),
    lambda raw: commands.append(raw, b"x"),
    lambda raw: commands.uid_store_labels(ONE, "+", [raw]),
]
TEXT_IN: list[Callable[[str], Command]] = [
    lambda text: auth.login(text, text),
    lambda text: auth.plain(text, text, initial_response=True),
    lambda text: commands.identify(name=text),
    lambda text: commands.identify(**{text: "x"}),
    lambda text: commands.uid_fetch(text, ["FLAGS"]),
    lambda text: commands.uid_fetch(ONE, [text]),
    lambda text: commands.uid_search(text),
    lambda text: commands.uid_search("ALL", returning=[text]),
    lambda text: commands.uid_store(ONE, "+", [text]),
    lambda text: commands.uid_store(ONE, text, ["\\Seen"]),
    lambda text: commands.append(b"x", b"x", flags=[text]),
    lambda text: commands.enable(text),
    lambda text: commands.status(b"x", [text]),
    lambda text: commands.list_folders(status=[text]),
]


def assert_one_command(command: Command) -> None:
    """As a server reads it: one line with its literals, one tag, and balanced."""
    raw = wire(command, non_sync=100)
    (frame,) = Framer().feed(raw)
    assert frame.text.startswith(b"P1 " + command.name.encode())
    assert not re.search(rb"[\r\n\x00]", re.sub(rb"\{\d+\+?\}\r\n", b"", frame.text))
    tokenize(frame)


@given(st.sampled_from(BYTES_IN), st.binary(max_size=20))
def test_no_folder_or_text_becomes_a_second_command(build: Callable[[bytes], Command], raw: bytes) -> None:
    try:
        command = build(raw)
    except LocalError:
        assert re.search(rb"[\r\n\x00]", raw)
    else:
        assert_one_command(command)


@pytest.mark.parametrize("byte", range(256))
def test_every_byte_is_quoted_sent_as_a_literal_or_refused(byte: int) -> None:
    raw = b"a" + bytes([byte]) + b'b"'
    try:
        command = commands.select(raw)
    except LocalError:
        assert byte in b"\r\n\x00"
    else:
        (frame,) = Framer().feed(wire(command))
        assert tokenize(frame)[2] == raw


SYNTAX = st.text(st.sampled_from('aZ09 \r\n\x00(){}[]<>"\\*%:,.+-$=\x7f\u2028ä٣'), max_size=12)


@given(st.sampled_from(TEXT_IN), st.text(max_size=20) | SYNTAX)
def test_no_flag_item_or_word_becomes_a_second_command(build: Callable[[str], Command], text: str) -> None:
    try:
        command = build(text)
    except LocalError:
        return
    assert_one_command(command)


@pytest.mark.parametrize(
    "build",
    [
        lambda: commands.uid_fetch(UidSet(), ["FLAGS"]),
        lambda: commands.uid_fetch("1 2", ["FLAGS"]),
        lambda: commands.uid_fetch("1:*", ["FLAGS"], changed_since=0),
        lambda: commands.uid_search("(", "ALL"),
        lambda: commands.uid_search("ALL", ")", "("),
        lambda: commands.uid_store(ONE, "*", []),
        lambda: commands.append(b"x", b"a\x00b"),
        lambda: auth.choose({"AUTH=PLAIN"}, "ann", "secret", mechanism="CRAM-MD5"),
    ],
)
def test_nonsense_is_refused_before_anything_is_sent(build: Callable[[], Command]) -> None:
    with pytest.raises(LocalError):
        build()


def test_no_command_shows_its_arguments() -> None:
    for command in (auth.login("ann", "hunter2"), auth.plain("ann", "hunter2", initial_response=False)):
        assert "hunter2" not in repr(command)
        assert "aHVudGVyMg" not in repr(command)
        assert "ann" not in repr(command).replace("command", "")


def test_days_are_written_for_search() -> None:
    assert dates.write_day(date(2020, 1, 2)) == "2-Jan-2020"
