"""Any bytes at all are a mail: reading them never fails, and what comes out can be stored and shown."""

from io import BytesIO

from hypothesis import given, settings
from hypothesis import strategies as st
from mime.checking import check

from postroom.mime import attachments
from postroom.mime.html import sanitise
from postroom.mime.parse import parse, parse_large

PIECES = [
    b"From: ",
    b"To: ",
    b"Subject: ",
    b"Date: ",
    b"Message-ID: <",
    b"References: ",
    b"Content-Type: ",
    b"text/plain",
    b"text/html",
    b"multipart/mixed; boundary=b",
    b"multipart/alternative; boundary=c",
    b"message/rfc822",
    b"; charset=",
    b"utf-8",
    b"utf-7",
    b"utf-16",
    b"iso-2022-jp",
    b"gb2312",
    b"idna",
    b"zip",
    b"\r\n",
    b"\n",
    b"\r",
    b"\n\n",
    b"\r\n\r\n",
    b"--b\n",
    b"--b--\n",
    b"--c\r\n",
    b"--c--",
    b"Content-Transfer-Encoding: base64\n",
    b"QUJD\n",
    b"Q=\n",
    b"=?utf-8?b?",
    b"=?utf-8?q?",
    b"?=",
    b"=?big5?b?",
    b"\x00",
    b"\xff",
    b"\xc3",
    b"\xe4\xbd",
    b"+2AA-",
    b"=00",
    b"=\n",
    b" ",
    b"\t",
    b"Content-Transfer-Encoding: quoted-printable\n",
    b'"',
    b"\\",
    b"(",
    b")",
    b"<",
    b">",
    b"@",
    b",",
    b";",
    b":",
    b"a",
    b"Content-Disposition: attachment; filename*0*=utf-8''%ff%00",
    b'; filename="../',
    b"begin 644 x\n",
    b"#86)C\n",
    b"end\n",
    b"text/calendar",
    b"; format=flowed",
    b"application/ms-tnef",
    b"__proto__: x\n",
    b"Mon, 20 Nov 2023 10:00:00",
    b" +0100",
    b"99999",
    b"<style>",
    b"<p hidden>",
    b"&#xd800;",
    b"&#0;",
    b"Content-ID: <i>\n",
    b"\x78\x9f\x3e\x22",
]
MAILS = st.one_of(st.binary(max_size=300), st.lists(st.sampled_from(PIECES), max_size=60).map(b"".join))


@settings(max_examples=300, deadline=None)
@given(MAILS)
def test_any_bytes_are_read_without_an_error(raw: bytes) -> None:
    message = parse(raw)

    check(message)
    sanitise(message.html or "").html.encode()


@settings(max_examples=200, deadline=None)
@given(MAILS)
def test_an_attachment_is_as_long_as_it_says(raw: bytes) -> None:
    for item in parse(raw).attachments:
        data = attachments.content(raw, item)

        assert len(data) == item.size
        encoded = raw[item.start : item.end]
        chunks = [encoded[at : at + 7] for at in range(0, len(encoded), 7)]
        assert b"".join(attachments.stream(chunks, item)) == data


@settings(max_examples=100, deadline=None)
@given(MAILS.filter(lambda raw: b"\r" not in raw or b"\n" in raw))
def test_a_file_is_read_like_bytes(raw: bytes) -> None:
    assert parse_large(BytesIO(raw), len(raw)) == parse(raw)
