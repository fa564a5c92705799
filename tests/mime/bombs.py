"""Mails made to hurt a parser. Each function gives a mail of about `size` bytes."""

import base64
from collections.abc import Callable

HEAD = b"From: a@b.c\nSubject: s\nDate: Mon, 20 Nov 2023 10:00:00 +0100\nMessage-ID: <1@x>\n"


def fill(piece: bytes, size: int) -> bytes:
    return piece * (size // len(piece) + 1)


def header(name: bytes, start: bytes, piece: bytes) -> Callable[[int], bytes]:
    return lambda size: HEAD + name + b": " + start + fill(piece, size) + b"\n\nbody\n"


def part(
    content_type: bytes, start: bytes, piece: bytes, encoding: bytes = b"8bit"
) -> Callable[[int], bytes]:
    top = HEAD + b"Content-Type: " + content_type + b"\nContent-Transfer-Encoding: " + encoding + b"\n\n"
    return lambda size: top + start + fill(piece, size)


def mixed(piece: bytes, boundary: bytes = b"b") -> Callable[[int], bytes]:
    return part(b'multipart/mixed; boundary="' + boundary + b'"', b"", piece)


def nested(size: int) -> bytes:
    """Multiparts inside multiparts, each with a boundary of its own."""
    levels = [
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (level, level)
        for level in range(size // 50)
    ]
    return HEAD + b"".join(levels)


def nested_and_long(size: int) -> bytes:
    """A hundred open multiparts, then a text that looks like delimiters."""
    return nested(5_000) + b"\n" + fill(b"\n--b\n--bx\n--", size)


def forwarded(size: int) -> bytes:
    return HEAD + fill(b"Content-Type: message/rfc822\n\n", size)


def attributes(size: int) -> bytes:
    start = HEAD + b"Content-Type: text/html\n\n<p "
    return start + b" ".join(b"a%d=%d" % (n, n) for n in range(size // 10)) + b">x"


def base64_html(size: int) -> bytes:
    html = fill(b"<table><tr><td><b><i><font color=red>", size * 3 // 4)
    return HEAD + b"Content-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64.encodebytes(html)


BOMBS: dict[str, Callable[[int], bytes]] = {
    "nested": nested,
    "nested and long": nested_and_long,
    "same boundary nested": lambda size: (
        HEAD + fill(b"Content-Type: multipart/mixed; boundary=b\n\n--b\n", size)
    ),
    "forwarded": forwarded,
    "headers": lambda size: HEAD + fill(b"X: y\n", size) + b"\nbody",
    "empty headers": lambda size: HEAD + fill(b":\n", size) + b"\nbody",
    "garbage lines": lambda size: HEAD + fill(b"garbage\nX: y\n", size) + b"\nbody",
    "folds": header(b"Subject", b"", b"\n "),
    "no empty line": lambda size: HEAD + fill(b"a", size),
    "newlines": lambda size: fill(b"\n", size),
    "carriage returns": lambda size: fill(b"\r", size),
    "addresses": header(b"To", b"", b"a@b.c, "),
    "names": header(b"To", b"", b'"a" <a@b.c>, '),
    "open angles": header(b"To", b"", b"<"),
    "commas": header(b"To", b"", b","),
    "ats": header(b"From", b"", b"@"),
    "groups": header(b"To", b"", b"a:b;"),
    "words of a name": header(b"From", b"", b"a "),
    "open quotes": header(b"From", b"", b'"\\'),
    "escaped quotes": header(b"From", b'"', b'\\"'),
    "nested comments": header(b"From", b"", b"("),
    "closed comments": header(b"From", b"", b"(a)"),
    "encoded words": header(b"Subject", b"", b"=?utf-8?q?a?= "),
    "glued words": header(b"From", b"", b"=?utf-8?b?YQ==?="),
    "open words": header(b"Subject", b"", b"=?a?b?"),
    "question marks": header(b"Subject", b"=?a?q?", b"?="),
    "parameters": header(b"Content-Type", b"text/plain", b"; a=b"),
    "open parameters": header(b"Content-Type", b"text/plain", b'; a="\\'),
    "continuations": lambda size: (
        HEAD
        + b"Content-Disposition: attachment"
        + b"".join(b"; filename*%d=a" % n for n in range(size // 16))
        + b"\n\n"
    ),
    "references": header(b"References", b"", b"<a@b> "),
    "open references": header(b"References", b"", b"<a@b"),
    "digits in a date": header(b"Date", b"", b"1 "),
    "comments in a date": header(b"Date", b"", b"("),
    "parts": mixed(b"--b\n\nx\n"),
    "parts with headers": mixed(b"--b\nContent-Type: text/html\nContent-ID: <a>\n\nx\n"),
    "nearly delimiters": mixed(b"\n--bb\n--"),
    "long delimiter lines": mixed(b"\n--b" + b" " * 990),
    "one line of dashes": mixed(b"-"),
    "base64": part(b"application/pdf", b"", b"QUJD\n", b"base64"),
    "base64 padding": part(b"application/pdf", b"", b"QQ==", b"base64"),
    "base64 dashes": lambda size: (
        HEAD
        + b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: base64\n"
        + b"Content-Type: a/b\n\n"
        + fill(b"-", size)
    ),
    "base64 text": part(b"text/plain", b"", b"\x80=-", b"base64"),
    "quoted-printable": part(b"text/plain", b"", b"= ", b"quoted-printable"),
    "soft breaks": part(b"text/plain", b"", b"=\n", b"quoted-printable"),
    "uuencode": part(b"text/plain", b"", b"begin 644 a\n#AAAA\n"),
    "closed uuencode": part(b"text/plain", b"", b"begin 644 a\n#AAAA\nend\n"),
    "flowed": part(b"text/plain; format=flowed", b"", b"> \n>> "),
    "flowed line": part(b"text/plain; format=flowed", b"", b"a \n"),
    "quotes": part(b"text/plain", b"", b">" * 50 + b"\n"),
    "dashes in text": part(b"text/plain", b"", b"\n-- "),
    "wrote": part(b"text/plain", b"", b"On a\n> "),
    "utf-7": part(b"text/plain; charset=utf-7", b"", b"+2AA-"),
    "iso-2022": part(b"text/plain; charset=iso-2022-jp", b"", b"\x1b$B\x1b(B"),
    "html nesting": part(b"text/html", b"", b"<div>"),
    "html inline nesting": part(b"text/html", b"", b"<b><i a=1><font b=2>"),
    "html tables": part(b"text/html", b"", b"<table><tr><td>"),
    "html tables in order": part(b"text/html", b"", b"<table><b>x<td>"),
    "html attributes": attributes,
    "html quotes": part(b"text/html", b"", b"<a b='<a c=\""),
    "html open tags": part(b"text/html", b"", b"<a "),
    "html angles": part(b"text/html", b"", b"<"),
    "html comments": part(b"text/html", b"", b"<!--"),
    "html ends": part(b"text/html", fill(b"<p>", 400), b"</div>"),
    "html styles": part(b"text/html", b"", b"<style></style>"),
    "html open styles": part(b"text/html", b"", b"<style>"),
    "html entities": part(b"text/html", b"", b"&amp;&#x41;&"),
    "html hidden": part(b"text/html", b"", b"<p style='display:none'>x"),
    "html preformatted": part(b"text/html", b"", b"<pre>\n"),
    "html formatting in paragraphs": part(b"text/html", fill(b"<p><b x=1><i y=2>", 2_000), b"<div></p>"),
    "html in base64": base64_html,
    "meta": part(b"text/html", b"\xff", b"<meta "),
    "calendar": mixed(b"--b\nContent-Type: text/calendar\n\nx\n"),
}
