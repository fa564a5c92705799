"""Mails that few people ever get and every mail program must survive: misbehaviours 98 to 103.

Each is made around the header of an ordinary mail, so that no two have the same bytes.
"""

from base64 import b64encode
from collections.abc import Callable

WORDS = 100_000
HUGE = 6 << 20  # bytes
MANY = 20_000
DEEP = 1_000

TNEF = bytes.fromhex("789f3e22") + bytes(range(256)) * 4


def _with_body(raw: bytes, media: bytes, body: bytes) -> bytes:
    """The mail's header, and another body under it."""
    header = raw.partition(b"\r\n\r\n")[0]
    kept = [line for line in _fields(header) if not line.lower().startswith(b"content-")]
    return b"\r\n".join([*kept, b"Content-Type: " + media]) + b"\r\n\r\n" + body


def _fields(header: bytes) -> list[bytes]:
    """Header fields, each with its continuation lines."""
    fields: list[bytes] = []
    for line in header.split(b"\r\n"):
        if line[:1] in {b" ", b"\t"} and fields:
            fields[-1] += b"\r\n" + line
        else:
            fields.append(line)
    return fields


def _wordy(raw: bytes) -> bytes:
    words = b" ".join(b"word%06x" % n for n in range(WORDS))
    return _with_body(raw, b"text/plain", words.replace(b"0 ", b"0\r\n"))


def _huge(raw: bytes) -> bytes:
    line = b64encode(bytes(range(57))) + b"\r\n"
    media = b"application/octet-stream\r\nContent-Transfer-Encoding: base64"
    return _with_body(raw, media, line * (HUGE // len(line)))


def _crowded(raw: bytes) -> bytes:
    people = b",\r\n ".join(b"p%d@crowd.example" % n for n in range(MANY))
    trace = b"".join(b"X-Trace-%d: hop\r\n" % n for n in range(MANY))
    part = b"--b\r\n\r\nx\r\n"
    body = part * MANY + b"--b--\r\n"
    return b"To: " + people + b"\r\n" + trace + _with_body(raw, b"multipart/mixed; boundary=b", body)


def _nested(raw: bytes) -> bytes:
    opened = b"".join(
        b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (n, n + 1) for n in range(DEEP)
    )
    inner = b"--b%d\r\n\r\nthe innermost\r\n" % DEEP
    closed = b"".join(b"--b%d--\r\n" % n for n in range(DEEP, -1, -1))
    return _with_body(raw, b"multipart/mixed; boundary=b0", opened + inner + closed)


def _one_boundary(raw: bytes) -> bytes:
    level = b"--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    return _with_body(raw, b"multipart/mixed; boundary=b", level * 50 + b"--b\r\n\r\nhi\r\n--b--\r\n" * 3)


def _proto_headers(raw: bytes) -> bytes:
    return b"__proto__: polluted\r\nconstructor: Object\r\ntoString: no\r\n" + raw


def _report(raw: bytes) -> bytes:
    blocks = b"".join(
        b"\r\nFinal-Recipient: rfc822; p%d@gone.example\r\nAction: failed\r\nStatus: 5.1.1\r\n" % n
        for n in range(3)
    )
    body = (
        b"--b\r\nContent-Type: text/plain\r\n\r\nIt could not be delivered.\r\n"
        b"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n"
        + blocks
        + b"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nSubject: lost\r\n--b--\r\n"
    )
    return _with_body(raw, b"multipart/report; report-type=delivery-status; boundary=b", body)


def _winmail(raw: bytes) -> bytes:
    body = (
        b"--b\r\nContent-Type: text/plain\r\n\r\nsee attachment\r\n--b\r\n"
        b'Content-Type: application/ms-tnef; name="winmail.dat"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
        + b64encode(TNEF)
        + b"\r\n--b--\r\n"
    )
    return _with_body(raw, b"multipart/mixed; boundary=b", body)


def _signed(raw: bytes) -> bytes:
    """Blanks at the ends of lines and a tab in a header, which no signature survives the loss of."""
    body = (
        b"--b\r\nContent-Type:\ttext/plain\r\n\r\nEvery blank counts.  \r\n-- \r\nAnn\t\r\n"
        b'--b\r\nContent-Type: application/pkcs7-signature; name="smime.p7s"\r\n'
        b"Content-Transfer-Encoding: base64\r\n\r\n" + b64encode(bytes(range(200))) + b"\r\n--b--\r\n"
    )
    media = b'multipart/signed; micalg=sha-256;\r\n\tprotocol="application/pkcs7-signature"; boundary=b'
    return _with_body(raw, media, body)


MONSTERS: dict[str, Callable[[bytes], bytes]] = {
    "mail-wordy": _wordy,
    "mail-huge": _huge,
    "mail-crowded": _crowded,
    "mail-nested": _nested,
    "mail-one-boundary": _one_boundary,
    "mail-proto-headers": _proto_headers,
    "mail-report": _report,
    "mail-winmail": _winmail,
    "mail-signed": _signed,
}
