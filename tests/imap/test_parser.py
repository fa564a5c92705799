"""What servers say, as values."""

import pytest
from costs import seconds
from hypothesis import given, settings
from hypothesis import strategies as st
from imap.cutting import one, responses

from postroom.imap.framing import Frame
from postroom.imap.parser import parse
from postroom.imap.responses import (
    AppendUid,
    Capability,
    Code,
    Continuation,
    CopyUid,
    Enabled,
    ESearch,
    Exists,
    Expunge,
    Flags,
    FolderStatus,
    Listed,
    Namespace,
    Namespaces,
    Other,
    Recent,
    Response,
    Search,
    ServerId,
    Status,
    Unreadable,
    Vanished,
)
from postroom.imap.uids import UidSet

NO_ATTRIBUTES = frozenset[str]()
TABLE: list[tuple[bytes, Response]] = [
    (b"* OK ready", Status(None, "OK", None, "ready")),
    (b"P1 NO [TRYCREATE] no such folder", Status("P1", "NO", Code("TRYCREATE"), "no such folder")),
    (b"P1 OK", Status("P1", "OK", None, "")),
    (b"* bye [ALERT] late", Status(None, "BYE", Code("ALERT"), "late")),
    (b"* PREAUTH hi", Status(None, "PREAUTH", None, "hi")),
    (b"+ go on", Continuation(b"go on")),
    (b"+", Continuation(b"")),
    (b"* CAPABILITY IMAP4rev1 Idle", Capability(frozenset({"IMAP4REV1", "IDLE"}))),
    (b"* ENABLED CONDSTORE", Enabled(frozenset({"CONDSTORE"}))),
    (b"* 23 EXISTS", Exists(23)),
    (b"* 0 RECENT", Recent(0)),
    (b"* 5 EXPUNGE", Expunge(5)),
    (b"* FLAGS (\\seen $Junk 7)", Flags(frozenset({"\\Seen", "$Junk", "7"}))),
    (b"* VANISHED 41,43:45", Vanished(UidSet(((41, 41), (43, 45))), earlier=False)),
    (b"* VANISHED (EARLIER) 1:9", Vanished(UidSet(((1, 9),)), earlier=True)),
    (b"* SEARCH", Search(())),
    (b"* SEARCH 2 84 (MODSEQ 917)", Search((2, 84), 917)),
    (
        b'* ESEARCH (TAG "P1") UID ALL 1:3,9 COUNT 4',
        ESearch("P1", by_uid=True, all=UidSet(((1, 3), (9, 9))), count=4),
    ),
    (b"* ESEARCH", ESearch(None, by_uid=False)),
    (b'* ID ("name" "Cyrus" "os" NIL)', ServerId({"name": "Cyrus", "os": ""})),
    (b"* ID NIL", ServerId({})),
    (
        b'* NAMESPACE (("INBOX." ".")) NIL (("#shared/" "/")("x" NIL))',
        Namespaces((Namespace(b"INBOX.", b"."),), (), (Namespace(b"#shared/", b"/"), Namespace(b"x", None))),
    ),
    (
        b'* STATUS "a b" (MESSAGES 2 UIDNEXT 9 UIDVALIDITY x MAILBOXID (F1))',
        FolderStatus(b"a b", {"MESSAGES": 2, "UIDNEXT": 9, "UIDVALIDITY": None, "MAILBOXID": "F1"}),
    ),
    (b"* STATUS a b (MESSAGES 2)", FolderStatus(b"a b", {"MESSAGES": 2})),
    (b"* LIST (\\NoSelect) NIL INBOX", Listed(b"INBOX", None, frozenset({"\\noselect"}))),
    (b'* LSUB () "/" "a/b"', Listed(b"a/b", b"/", NO_ATTRIBUTES, lsub=True)),
    (b'* LIST () "\\\\" "a\\\\\\"b"', Listed(b'a\\"b', b"\\", NO_ATTRIBUTES)),
    (
        b'* LIST () "/" Unquoted\twith tab [x] and (parens',
        Listed(b"Unquoted\twith tab [x] and (parens", b"/", NO_ATTRIBUTES),
    ),
    (b'* LIST () "/" Entw\xc3\xbcrfe', Listed(b"Entw\xc3\xbcrfe", b"/", NO_ATTRIBUTES)),
    (b'* LIST () "/" {4}\r\na\tb"', Listed(b'a\tb"', b"/", NO_ATTRIBUTES)),
    (b"* LIST () / INBOX", Listed(b"INBOX", b"/", NO_ATTRIBUTES)),
    (b'* LIST () "" INBOX', Listed(b"INBOX", None, NO_ATTRIBUTES)),
    (b'* LIST () "/" NIL', Listed(b"NIL", b"/", NO_ATTRIBUTES)),
    (b'* LIST () "/" ""', Listed(b"", b"/", NO_ATTRIBUTES)),
    (
        b'* LIST () "/" "new" ("OLDNAME" ("old") "CHILDINFO" ("SUBSCRIBED"))',
        Listed(b"new", b"/", NO_ATTRIBUTES, old_name=b"old", child_info=frozenset({"SUBSCRIBED"})),
    ),
    (b'* GENURLAUTH "imap://x"', Other("GENURLAUTH", (b"imap://x",))),
    (b"* 7 FETCHED x", Other("FETCHED", (b"7", b"x"))),
    (b"* THREAD (2)(3 (4)(5))", Other("THREAD", ([b"2"], [b"3", [b"4"], [b"5"]]))),
]


@pytest.mark.parametrize(("line", "expected"), TABLE, ids=[repr(line)[:60] for line, _ in TABLE])
def test_each_response_has_its_value(line: bytes, expected: Response) -> None:
    assert one(line) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (b"UIDVALIDITY 3857529045", Code("UIDVALIDITY", 3857529045)),
        (b"UIDNEXT 4392", Code("UIDNEXT", 4392)),
        (b"HIGHESTMODSEQ -1", Code("HIGHESTMODSEQ", None)),
        (b"NOMODSEQ", Code("NOMODSEQ")),
        (
            b"PERMANENTFLAGS (\\Deleted [x] \\*)",
            Code("PERMANENTFLAGS", frozenset({"\\Deleted", "[x]", "\\*"})),
        ),
        (b"CAPABILITY IMAP4rev1 LITERAL +", Code("CAPABILITY", frozenset({"IMAP4REV1", "LITERAL", "+"}))),
        (b"APPENDUID 38505 3955", Code("APPENDUID", AppendUid(38505, UidSet(((3955, 3955),))))),
        (b"APPENDUID 38505", Code("APPENDUID", None)),
        (b"COPYUID 9 3:4 7:8", Code("COPYUID", CopyUid(9, UidSet(((3, 4),)), UidSet(((7, 8),))))),
        (b"MODIFIED 7,9", Code("MODIFIED", UidSet(((7, 7), (9, 9))))),
        (b"MAILBOXID (F2212ea87)", Code("MAILBOXID", "F2212ea87")),
        (b"THROTTLED", Code("THROTTLED")),
        (b'BADCHARSET ("a]b" UTF-8)', Code("BADCHARSET", '("a]b" UTF-8)')),
        (b"BADCHARSET (unclosed", Code("BADCHARSET", "(unclosed")),
    ],
)
def test_a_response_code_is_read(code: bytes, expected: Code) -> None:
    assert one(b"* OK [" + code + b"] fine") == Status(None, "OK", expected, "fine")


@pytest.mark.parametrize("line", [b"* [COPYUID 9 3 7] Exchange says so", b"[COPYUID 9 3 7]"])
def test_a_code_without_ok_is_a_code(line: bytes) -> None:
    response = one(line)

    assert isinstance(response, Status)
    assert response.kind == "OK"
    assert response.code == Code("COPYUID", CopyUid(9, UidSet(((3, 3),)), UidSet(((7, 7),))))


def test_copied_uids_pair_up_only_if_the_sets_fit() -> None:
    fitting = CopyUid(1, UidSet(((304, 304), (319, 320))), UidSet(((3956, 3958),)))
    huge = CopyUid(1, UidSet(((1, 4294967295),)), UidSet(((1, 4294967295),)))

    assert fitting.pairs() == {304: 3956, 319: 3957, 320: 3958}
    assert CopyUid(1, UidSet(((1, 2),)), UidSet(((1, 1),))).pairs() == {}
    assert huge.pairs() == {}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"*",
        b"* ",
        b"P1",
        b"hello",
        b"* LIST",
        b"* STATUS x",
        b"* VANISHED x",
        b"* FLAGS 1",
        b"* NAMESPACE",
        b"* X (",
        b"* X )",
        b'* X "open',
        b"* THREAD " + b"(" * 100_000,
        b"* THREAD " + b"(" * 65 + b")" * 65,
        b"\x00" * 50,
    ],
    ids=lambda line: repr(line)[:20],
)
def test_what_cannot_be_read_is_a_value_too(line: bytes) -> None:
    response = one(line)

    assert isinstance(response, Unreadable)
    assert len(response.raw) <= 4096


def test_sixty_four_lists_in_each_other_are_enough() -> None:
    assert isinstance(one(b"* THREAD " + b"(" * 64 + b")" * 64), Other)


def test_one_unreadable_response_does_not_cost_us_the_next() -> None:
    assert responses(b"* LIST (\r\n* 4 EXISTS\r\n")[1] == Exists(4)


@pytest.mark.parametrize(
    ("begin", "repeated"),
    [
        (b'* LIST () "/" x', b" ("),
        (b'* LIST () "/" x', b" "),
        (b'* LIST () "/" "x', b"\\\\"),
        (b"* 1 FETCH (", b"a[ "),
        (b"* 1 FETCH (UID 1 (", b" BODY["),
        (b"* 1 FETCH ((", b" UID 1"),
        (b"* 1 FETCH (", b"() "),
        (b"* 1 FETCH (", b'"" '),
        (b"* 1 FETCH (FLAGS (", b"x "),
        (b"* OK [X ", b"("),
        (b"* OK [X ", b'("'),
        (b"* OK [X ", b"() "),
        (b"* OK [", b"x"),
        (b"* VANISHED 1", b",1:2"),
        (b"* SEARCH", b" 1"),
        (b"* ID (", b'"a" NIL '),
        (b"P1 ", b"OK"),
        (b"", b" "),
    ],
)
def test_a_line_costs_its_length_whatever_it_repeats(begin: bytes, repeated: bytes) -> None:
    def cost(count: int) -> float:
        frame = Frame(begin + repeated * count)
        return seconds(lambda: parse(frame))

    assert cost(64_000) < 16 * cost(16_000) + 0.01  # four times as much; quadratic would be 16


def test_few_flags_are_remembered() -> None:
    keywords = b" ".join(b"k%d" % number for number in range(1000))

    assert one(b"* 1 FETCH (FLAGS (" + keywords + b"))") == one(b"* 1 FETCH (FLAGS (" + keywords + b") )")


WORDS = st.sampled_from(
    b"* 1 FETCH ( ) UID FLAGS BODY[] [ ] NIL OK LIST STATUS ESEARCH VANISHED SEARCH {3} ID P1 + <0> NAMESPACE"
    b' MODSEQ COPYUID CAPABILITY \xff \x00 99999999999999999999999 " \\ \r \n'.split(b" ")
)


@settings(max_examples=300)
@given(st.one_of(st.binary(), st.lists(WORDS).map(b"".join), st.lists(WORDS).map(b" ".join)), st.booleans())
def test_parse_never_raises(text: bytes, untagged: bool) -> None:
    assert isinstance(parse(Frame((b"* " if untagged else b"") + text)), Response)


@settings(max_examples=200)
@given(st.integers(0, len(TABLE) - 1), st.data())
def test_a_response_with_a_damaged_byte_is_still_a_response(index: int, data: st.DataObject) -> None:
    line = bytearray(TABLE[index][0])
    line[data.draw(st.integers(0, len(line) - 1))] = data.draw(st.integers(0, 255))

    assert isinstance(parse(Frame(bytes(line))), Response)
