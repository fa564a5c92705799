"""Attachments have names that are only names, and give back exactly the bytes that were sent."""

import base64
import binascii
import quopri
import random
from collections.abc import Iterator
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.mime import attachments, transfer
from postroom.mime.attachments import content, file_name, stream
from postroom.mime.model import Attachment
from postroom.mime.parse import parse, parse_large
from postroom.mime.unbuilt import BASE64_DIGITS

TOP = b'From: a@b\nContent-Type: multipart/mixed; boundary="b"\n\n--b\n\nhello\n--b\n'
DATA = bytes(range(256)) * 300


def in_chunks(raw: bytes, attachment: Attachment) -> Iterator[bytes]:
    """Its encoded bytes, 1,000 at a time."""
    encoded = raw[attachment.start : attachment.end]
    return (encoded[at : at + 1000] for at in range(0, len(encoded), 1000))


def with_file(headers: bytes, body: bytes) -> bytes:
    return TOP + headers + b"\n\n" + body + b"\n--b--\n"


def uuencode(data: bytes) -> bytes:
    lines = b"".join(binascii.b2a_uu(data[at : at + 45]) for at in range(0, len(data), 45))
    return b"begin 644 a file.bin\n" + lines + b"`\nend\n"


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (b"base64", base64.encodebytes(DATA)),
        (b"BASE64 ", base64.encodebytes(DATA).replace(b"\n", b"\r\n")),
        (b"base64", base64.b64encode(DATA)),
        (b"base64", base64.encodebytes(DATA).rstrip(b"=\n")),
        (b"base64", base64.b64encode(DATA[:100]) + b"\n" + base64.b64encode(DATA[100:])),
        (b"quoted-printable", quopri.encodestring(DATA, quotetabs=True).replace(b"=\n", b"= \r\n")),
        (b"x-uuencode", uuencode(DATA)),
        (b"binary", DATA),
        (b"unheard-of", DATA),
    ],
)
def test_an_attachment_decodes_to_what_was_sent(encoding: bytes, body: bytes) -> None:
    raw = with_file(b"Content-Type: application/x\nContent-Transfer-Encoding: " + encoding, body)

    message = parse(raw)
    (found,) = message.attachments

    assert message.text == "hello"
    assert content(raw, found) == content(memoryview(raw), found) == DATA
    assert found.size == len(DATA)
    assert b"".join(stream(in_chunks(raw, found), found)) == DATA


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from([b"QUJD", b"QQ", b"=", b"\n", b"*", b"QQ==", b"\xff", b"A"])).map(b"".join),
    st.integers(1, 9),
)
def test_base64_in_pieces_is_base64_as_a_whole(data: bytes, step: int) -> None:
    pieces = [data[at : at + step] for at in range(0, len(data), step)]

    whole = transfer.decode(data, "base64")

    assert b"".join(transfer.stream(pieces, "base64")) == whole
    assert transfer.base64_size(pieces) == len(whole)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.integers(0, 5_000),
        st.sampled_from([b"", b"Q", b"=", b"\n", b"*", b"-_", b"\0", b"\xff"]),
        max_size=4,
    ),
    st.sampled_from([b"\n", b"\r\n", b""]),
    st.integers(50, 6_000),
)
def test_long_base64_is_what_its_digits_say_wherever_it_is_damaged(
    damage: dict[int, bytes], line_end: bytes, step: int
) -> None:
    data = base64.encodebytes(DATA[:3_500]).replace(b"\n", line_end)
    for at, instead in damage.items():
        data = data[:at] + instead + data[at + 1 :]
    runs = ["".join(chr(byte) for byte in run if byte in BASE64_DIGITS) for run in data.split(b"=")]
    runs = [run[:-1] if len(run) % 4 == 1 else run for run in runs]
    meant = b"".join(binascii.a2b_base64(run + "=" * (-len(run) % 4)) for run in runs)

    assert transfer.base64(data) == meant
    assert transfer.base64_text(data) == (meant, transfer.base64_damaged(data))
    assert transfer.base64_size(data[at : at + step] for at in range(0, len(data), step)) == len(meant)
    assert attachments.size(data, 0, len(data), "base64") == len(meant)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([b"QUJD", b"QUJDREVG\r\n", b"QQ", b"=", b"\n", b"*", b"QQ==", b" ", b"A"])).map(
        b"".join
    )
)
def test_base64_of_a_text_is_decoded_and_judged_at_once(data: bytes) -> None:
    assert transfer.base64_text(data) == (transfer.base64(data), transfer.base64_damaged(data))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([b"a", b"=41", b"=", b"\n", b"\r\n", b"= \n", b"=\n", b"=4"])).map(b"".join))
def test_quoted_printable_never_fails(data: bytes) -> None:
    assert len(transfer.decode(data, "quoted-printable")) <= len(data)


QUOTED = [b"=", b"\r", b"\n", b" ", b"\t", b"A", b"4", b"=41", b"xyz", b"=\r\n", b"= \r\n"]
UUENCODED = [
    b"begin 644 a\n",
    b"end",
    b"\n",
    b"\r",
    b"M" + b"A" * 60,
    b"#86)C",
    b"`",
    b" ",
    b"x" * 1500,
    b"%",
]


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.tuples(st.just("quoted-printable"), st.lists(st.sampled_from(QUOTED)).map(b"".join)),
        st.tuples(st.just("x-uuencode"), st.lists(st.sampled_from(UUENCODED)).map(b"".join)),
    ),
    st.integers(1, 20),
)
def test_where_a_file_is_cut_into_pieces_changes_nothing(encoded: tuple[str, bytes], step: int) -> None:
    encoding, data = encoded
    pieces = (data[at : at + step] for at in range(0, len(data), step))

    assert b"".join(transfer.stream(pieces, encoding)) == transfer.decode(data, encoding)


def test_a_soft_break_that_lost_its_line_feed_hides_nothing_behind_it() -> None:
    assert transfer.decode(b"one =\rtwo\rthree\n", "quoted-printable") == b"one two\rthree\n"


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (b'attachment; filename="a b.pdf"', "a b.pdf"),
        (b"attachment; filename=a b.pdf", "a b.pdf"),
        (b'attachment; filename="=?utf-8?q?=C3=BC.pdf?="', "ü.pdf"),
        (b"attachment; filename*=utf-8''%C3%BC%20x.pdf; filename=no", "ü x.pdf"),
        (b"attachment; filename*0*=utf-8''%C3; filename*1*=%BC; filename*2=.pdf", "ü.pdf"),
        (b'attachment; filename*0="a"; filename*1="b.pdf"', "ab.pdf"),
        (b"attachment; filename*=iso-8859-1'de'%FC.pdf", "ü.pdf"),
        (b"attachment; filename*=%C3%BC.pdf", "ü.pdf"),
        ("attachment; filename=ü.pdf".encode(), "ü.pdf"),
        (b'attachment; filename="../../etc/passwd"', "passwd"),
        (b'attachment; filename="C:\\\\temp\\\\a.pdf"', "a.pdf"),
        (b'attachment; filename=""', None),
        (b"attachment; filename=..", None),
        (b"attachment", None),
    ],
)
def test_a_name_is_read_however_it_is_written(header: bytes, name: str | None) -> None:
    (found,) = parse(
        with_file(b"Content-Type: application/pdf\nContent-Disposition: " + header, b"x")
    ).attachments

    assert found.name == name


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("a\r\nb\0.pdf", "ab.pdf"),
        ("a\u202egpj.exe", "agpj.exe"),
        (" . ", None),
        ("\u200b", None),
        ("/a/b/", "b"),
    ],
)
def test_a_name_holds_nothing_invisible_and_no_path(name: str, clean: str | None) -> None:
    assert file_name(name) == clean


def test_a_long_name_keeps_its_suffix() -> None:
    name = file_name("a" * 500 + ".pdf")

    assert name is not None
    assert len(name) == 200
    assert name.endswith("aa.pdf")


def test_an_image_of_the_html_is_inline_and_a_file_is_not() -> None:
    raw = (
        b"Content-Type: multipart/mixed; boundary=m\n\n--m\nContent-Type: multipart/related; boundary=r\n\n"
        b"--r\nContent-Type: text/html\n\n<img src='cid:i'>\n"
        b"--r\nContent-Type: IMAGE/PNG\nContent-ID: <i>\n\nx\n--r--\n"
        b"--m\nContent-Type: text/plain; name=notes.txt\nContent-Disposition: attachment\n\nnotes\n--m--\n"
    )

    image, notes = parse(raw).attachments

    assert (image.number, image.content_type, image.disposition, image.content_id) == (
        1,
        "image/png",
        "inline",
        "i",
    )
    assert (notes.number, notes.name, notes.disposition) == (2, "notes.txt", "attachment")
    assert "notes" not in parse(raw).text


def test_a_forwarded_mail_is_an_attachment_named_by_its_subject() -> None:
    inner = b"From: c@d\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= / 1\n\ninner words\n"

    message = parse(with_file(b"Content-Type: message/rfc822", inner))

    assert [item.name for item in message.attachments] == ["Grüße - 1.eml"]
    assert message.text == "hello"


def test_uuencoded_files_in_a_text_are_attachments() -> None:
    raw = b"From: a@b\n\nSee below.\n" + uuencode(DATA) + b"Bye.\nbegin 644 not a file\n"

    message = parse(raw)

    assert message.text == "See below.\nBye.\nbegin 644 not a file\n"
    assert [(item.name, item.size) for item in message.attachments] == [("a file.bin", len(DATA))]
    assert content(raw, message.attachments[0]) == DATA


def test_an_invitation_is_a_calendar_and_its_file_an_attachment() -> None:
    calendar = b"Content-Type: text/calendar; method=REQUEST\n\nBEGIN:VCALENDAR\n"
    raw = with_file(
        b"Content-Type: multipart/alternative; boundary=c", b"--c\n\nhi\n--c\n" + calendar + b"--c--"
    )

    message = parse(raw)

    assert message.calendar == ("BEGIN:VCALENDAR",)
    assert message.attachments == ()
    assert [item.content_type for item in parse(with_file(calendar.strip(), b"x")).attachments] == [
        "text/calendar"
    ]


def test_signed_text_is_read_and_sealed_mail_is_an_attachment() -> None:
    signed = (
        b"Content-Type: multipart/signed; protocol=x; boundary=s\n\n--s\n\nsigned words\n"
        b"--s\nContent-Type: application/pkcs7-signature; name=smime.p7s\n"
        b"Content-Transfer-Encoding: base64\n\nQUJD\n--s--\n"
    )
    sealed = (
        b"Content-Type: application/pkcs7-mime; name=smime.p7m\nContent-Transfer-Encoding: base64\n\nQUJD\n"
    )

    assert parse(signed).text == "signed words"
    assert [item.name for item in parse(signed).attachments] == ["smime.p7s"]
    assert [item.name for item in parse(sealed).attachments] == ["smime.p7m"]


def test_a_large_mail_is_read_from_a_file_in_bounded_memory() -> None:
    """The file hands out no more than a chunk at a time."""
    data = random.Random(1).randbytes(3 << 20)
    raw = with_file(b"Content-Type: a/b\nContent-Transfer-Encoding: base64", base64.encodebytes(data))
    longest = 0

    class Watched(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            nonlocal longest
            longest = max(longest, size or 0)
            return super().read(size)

    message = parse_large(Watched(raw), len(raw))

    assert message == parse(raw)
    assert message.attachments[0].size == len(data)
    assert 0 < longest <= 1 << 20
    [attached] = message.attachments
    assert b"".join(attachments.stream(in_chunks(raw, attached), attached)) == data
