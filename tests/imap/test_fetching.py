"""FETCH: the usual, and section F of what servers really send."""

from datetime import UTC, datetime

import pytest
from imap.cutting import one

from postroom.imap.framing import Frame, Framer, Limits, Spool
from postroom.imap.parser import parse
from postroom.imap.responses import Fetch

SEEN = frozenset({"\\Seen"})


def fetch(items: bytes) -> Fetch:
    response = one(b"* 12 FETCH (" + items + b")")
    assert isinstance(response, Fetch)
    return response


def test_the_line_of_a_flag_scan() -> None:
    assert fetch(b"UID 7 FLAGS (\\Seen $Label1) MODSEQ (917162)") == Fetch(
        12, 7, frozenset({"\\Seen", "$Label1"}), 917162
    )


@pytest.mark.parametrize(
    "line",
    [
        b"* 12 fetch (uid 7 flags (\\SEEN))",
        b"* 12 FETCH (FLAGS (\\Seen) UID 7 )",
        b"*  12  FETCH  ( UID 7 FLAGS (\\Seen))",
    ],
)
def test_spelling_and_spaces_do_not_matter(line: bytes) -> None:
    response = one(line)

    assert isinstance(response, Fetch)
    assert (response.seq, response.uid, response.flags) == (12, 7, SEEN)


def test_a_whole_message() -> None:
    said = fetch(
        b'UID 7 RFC822.SIZE 5 INTERNALDATE "17-Jul-1996 02:44:25 -0700"'
        b" FLAGS () BODY[] {5}\r\na{1}\r BODY[1] NIL"
    )

    assert said.body == b"a{1}\r"
    assert said.size == 5
    assert said.internal_date == datetime(1996, 7, 17, 9, 44, 25, tzinfo=UTC)
    assert said.flags == frozenset()
    assert said.attributes["BODY[1]"] is None


def test_sections_keep_their_names() -> None:
    said = fetch(b'BODY[HEADER.FIELDS (LIST-ID "DATE")]<0> {2}\r\nxy BINARY[1] ~{3}\r\n\x00ab body[text] "q"')

    assert said.attributes == {
        'BODY[HEADER.FIELDS (LIST-ID "DATE")]<0>': b"xy",
        "BINARY[1]": b"\x00ab",
        "BODY[TEXT]": b"q",
    }


def test_ids_and_labels_of_gmail_and_of_rfc_8474() -> None:
    said = fetch(
        b'X-GM-MSGID 12 X-GM-THRID 34 X-GM-LABELS (\\Inbox "a*(b)" &AOQ-) EMAILID (M6d9) THREADID NIL'
    )

    assert (said.gmail_id, said.gmail_thread, said.email_id, said.thread_id) == (12, 34, "M6d9", None)
    assert said.gmail_labels == (b"\\Inbox", b"a*(b)", b"&AOQ-")


def test_unknown_is_not_empty() -> None:
    said = fetch(b"UID 7")

    assert (said.flags, said.modseq, said.size, said.body, said.internal_date) == (None,) * 5
    assert said.gmail_labels is None
    assert fetch(b"X-GM-LABELS NIL").gmail_labels == ()


@pytest.mark.parametrize("size", [b"9.3736e+06", b"-1", b"NIL", b'""', b"9" * 30])
def test_a_size_that_is_no_number_is_unknown(size: bytes) -> None:
    said = fetch(b"UID 7 RFC822.SIZE " + size + b" FLAGS (\\Seen)")

    assert (said.uid, said.size, said.flags) == (7, None, SEEN)


@pytest.mark.parametrize("modseq", [b"(-5)", b"()", b"NIL", b"(x)"])
def test_a_modseq_that_is_no_number_is_unknown(modseq: bytes) -> None:
    assert fetch(b"UID 7 MODSEQ " + modseq).modseq is None


@pytest.mark.parametrize("uid", [b"0", b"4294967296", b"x"])
def test_a_uid_that_cannot_be_is_none(uid: bytes) -> None:
    assert fetch(b"UID " + uid + b" FLAGS ()").uid is None


@pytest.mark.parametrize(
    "date",
    [b'"17-Jul-1996"', b'"32-Jul-1996 02:44:25 -0700"', b'"17-Foo-1996 02:44:25 +0000"', b"NIL", b'""'],
)
def test_an_absurd_date_is_unknown(date: bytes) -> None:
    assert fetch(b"INTERNALDATE " + date).internal_date is None


@pytest.mark.parametrize(
    ("date", "hour"),
    [
        (b'" 1-Jan-2020 02:00:00 +0000"', 2),
        (b'"01-jan-2020 02:00:00 +0130"', 0),
        (b'"1-Jan-2020 02:00:00"', 2),
    ],
)
def test_a_date_is_read_with_its_usual_liberties(date: bytes, hour: int) -> None:
    said = fetch(b"INTERNALDATE " + date).internal_date

    assert said is not None
    assert (said.day, said.hour) == (1, hour)


def test_flags_may_be_eight_bit_numbers_or_anything() -> None:
    assert fetch(b"FLAGS (42 \xc3\xa4 \\Seen [x] a]b)").flags == frozenset(
        {"42", "ä", "\\Seen", "[x]", "a]b"}
    )


@pytest.mark.parametrize("items", [b"FLAGS (a[b [c d]) UID 7", b"FLAGS (a[b [c d]) UID 7 X-ODD (1)"])
def test_a_keyword_may_have_a_bracket(items: bytes) -> None:
    assert fetch(items).flags == frozenset({"a[b", "[c", "d]"})


def test_strings_hold_raw_bytes_and_escapes() -> None:
    said = fetch(b'ENVELOPE ("a\\"b\\\\c" "\xfcn\xefcode" "line\nfeed" NIL)')

    assert said.attributes["ENVELOPE"] == [b'a"b\\c', b"\xfcn\xefcode", b"line\nfeed", None]


BROKEN_STRUCTURES = [
    b'("TEXT" "PLAIN" ("boundary" NIL',
    b'("TEXT" "PLAIN"))',
    b'(("TEXT" "a") "mixed"))) NIL',
    b"(" * 70 + b")" * 70,
    b'("unclosed NIL NIL)',
]


@pytest.mark.parametrize("broken", BROKEN_STRUCTURES)
@pytest.mark.parametrize("item", [b"BODYSTRUCTURE", b"ENVELOPE"])
def test_a_broken_structure_costs_only_itself(broken: bytes, item: bytes) -> None:
    said = fetch(
        b"UID 7 FLAGS (\\Seen) " + item + b" " + broken + b" BODY[] {5}\r\nhello RFC822.SIZE 5 MODSEQ (9)"
    )

    assert (said.uid, said.flags, said.body) == (7, SEEN, b"hello")
    assert (said.size, said.modseq) == (5, 9)
    assert said.defects


@pytest.mark.parametrize("broken", BROKEN_STRUCTURES)
def test_the_uid_is_found_behind_a_broken_structure(broken: bytes) -> None:
    said = fetch(b"BODYSTRUCTURE " + broken + b" UID 7 FLAGS (\\Seen)")

    assert (said.uid, said.flags) == (7, SEEN)


@pytest.mark.parametrize("name", [b'""""', b'"x"y"', b'x"y"z'])
def test_quotes_too_many_shift_nothing(name: bytes) -> None:
    said = fetch(b'BODYSTRUCTURE ("TEXT" "PLAIN" ("NAME" ' + name + b") NIL) UID 7")

    assert said.uid == 7


def test_a_senders_file_name_does_not_pose_as_a_uid() -> None:
    said = fetch(b'BODYSTRUCTURE ("TEXT" "name" "x" UID 666 FLAGS (\\Deleted) "y" NIL')

    assert said.uid is None
    assert said.flags is None


def test_what_is_said_twice_counts_the_first_time() -> None:
    said = fetch(b'UID 7 BODYSTRUCTURE ("name" "x") UID 666 FLAGS () X ("y") FLAGS (\\Seen)')

    assert (said.uid, said.flags) == (7, frozenset())
    assert said.defects == ("UID is said twice", "FLAGS is said twice")


def test_an_item_in_parentheses_too_many_is_skipped() -> None:
    said = fetch(b"UID 7 (ENVELOPE (NIL NIL)) FLAGS (\\Seen)")

    assert (said.uid, said.flags) == (7, SEEN)
    assert said.defects == ("an item without a name",)


def test_a_hundred_thousand_lists_in_each_other_are_only_a_defect() -> None:
    said = fetch(b"UID 7 BODYSTRUCTURE " + b"(" * 100_000)

    assert said.uid == 7
    assert said.defects == ("lists are nested more than 64 deep",)


def test_a_large_body_is_a_spool() -> None:
    framer = Framer(Limits(spool_over=10))
    (frame,) = framer.feed(b"* 1 FETCH (UID 7 BODY[] {11}\r\nhello world)\r\n")
    said = parse(frame)

    assert isinstance(said, Fetch)
    assert isinstance(said.body, Spool)
    assert said.body.read() == b"hello world"


def test_a_literal_that_is_announced_and_missing_is_a_defect() -> None:
    said = parse(Frame(b"* 1 FETCH (UID 7 BODY[] {5}\r\n)"))

    assert isinstance(said, Fetch)
    assert said.body is None
    assert said.defects
