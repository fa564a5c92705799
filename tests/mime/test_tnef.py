"""What Outlook wraps into winmail.dat is found."""

import base64
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.mime import tnef
from postroom.mime.attachments import content
from postroom.mime.parse import parse


def attribute(level: int, name: int, data: bytes) -> bytes:
    return struct.pack("<BII", level, name, len(data)) + data + b"\0\0"


def string(name: int, text: str) -> bytes:
    data = text.encode("utf-16-le") + b"\0\0"
    return struct.pack("<HHII", tnef.UNICODE, name, 1, len(data)) + data + b"\0" * (-len(data) % 4)


def properties(*items: bytes) -> bytes:
    return struct.pack("<I", len(items)) + b"".join(items)


NUMBER = struct.pack("<HHI", 3, 0x0E07, 1)
NAMED = struct.pack("<HH16sIII", 3, 0x8001, b"g" * 16, 0, 5, 1)
WINMAIL = (
    tnef.SIGNATURE
    + b"\1\2"
    + attribute(1, 0x00089006, b"\0\0\1\0")
    + attribute(1, tnef.MESSAGE_PROPERTIES, properties(NUMBER, NAMED, string(tnef.PR_BODY, "Grüße\nAda")))
    + attribute(2, tnef.FILE_BEGINS, b"\1\0")
    + attribute(2, tnef.FILE_NAME, b"LONGNA~1.PDF\0")
    + attribute(2, tnef.FILE_DATA, b"%PDF-1")
    + attribute(2, tnef.FILE_PROPERTIES, properties(NUMBER, string(tnef.PR_LONG_NAME, "long näme.pdf")))
    + attribute(2, tnef.FILE_BEGINS, b"\1\0")
    + attribute(2, tnef.FILE_NAME, b"b.txt\0")
    + attribute(2, tnef.FILE_DATA, b"bee")
)
MAIL = (
    b"From: a@b\nContent-Type: application/ms-tnef; name=winmail.dat\nContent-Transfer-Encoding: base64\n\n"
    + base64.encodebytes(WINMAIL)
)


def test_files_and_text_come_out_of_a_winmail_dat() -> None:
    message = parse(MAIL)

    assert message.text == "Grüße\nAda"
    assert [item.name for item in message.attachments] == ["winmail.dat", "long näme.pdf", "b.txt"]
    assert [content(MAIL, item) for item in message.attachments] == [WINMAIL, b"%PDF-1", b"bee"]
    assert [item.size for item in message.attachments] == [len(WINMAIL), 6, 3]
    assert message.defects == ("date.missing", "message_id.missing")


def test_the_text_of_the_mail_itself_goes_first() -> None:
    mixed = b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nplain\n--b\n"

    assert parse(mixed + MAIL.partition(b"\n")[2] + b"--b--").text == "plain"


def test_what_is_no_winmail_dat_is_reported() -> None:
    message = parse(b"Content-Type: application/ms-tnef\n\nnothing of the kind")

    assert "tnef.unreadable" in message.defects
    assert len(message.attachments) == 1


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(WINMAIL)), st.integers(0, len(WINMAIL) - 1), st.binary(max_size=8))
def test_a_damaged_winmail_dat_gives_what_can_be_read(cut: int, at: int, noise: bytes) -> None:
    data = (WINMAIL[:at] + noise + WINMAIL[at + len(noise) :])[:cut]

    wrapped = tnef.read(data)

    for file in wrapped.files if wrapped else []:
        assert 0 < file.start < file.end <= len(data)


def test_numbers_that_promise_too_much_do_no_harm() -> None:
    bomb = attribute(1, tnef.MESSAGE_PROPERTIES, properties() + struct.pack("<HHI", 0x1003, 1, 0xFFFFFFFF))

    assert tnef.read(tnef.SIGNATURE + b"\0\0" + bomb) == tnef.Wrapped()
