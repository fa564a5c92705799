"""Encoded words in headers (RFC 2047), the broken ones too."""

import binascii
import re

from postroom.mime.charsets import codec, decode

MAX_WORD = 4_000  # characters; the RFC says 75, senders do as they like
PREFIX = re.compile(r"=\?([^?*\s]{1,40}+)(?:\*[^?\s]{0,40})?\?([bBqQ])\?")
NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")
UNSAFE = re.compile("[\x00-\x1f\x7f]+")


def decode_words(value: str, defects: set[str]) -> str:
    """`value` with its encoded words replaced.

    White space between two words goes away (RFC 2047, 6.2), and neighbours in one charset are decoded
    together: many senders cut in the middle of a character.
    """
    out: list[str] = []
    pending, charset = b"", ""
    at = copied = 0
    while (at := value.find("=?", at)) >= 0:
        found = _word(value, at)
        if found is None:
            at += 2
            continue
        data, word_charset, end = found
        between = value[copied:at]
        if between.strip() or (between and not pending) or (pending and word_charset != charset):
            out.append(decode(pending, charset, defects) if pending else "")
            pending = b""
            out.append(between if between.strip() or not out[-1] else "")
        pending, charset = pending + data, word_charset
        at = copied = end
    if pending:
        out.append(decode(pending, charset, defects))
    out.append(value[copied:])
    return UNSAFE.sub(" ", "".join(out))


def _word(value: str, at: int) -> tuple[bytes, str, int] | None:
    prefix = PREFIX.match(value, at)
    if prefix is None:
        return None
    start = prefix.end()
    end = value.find("?=", start, start + MAX_WORD)
    if end < 0:
        return None
    encoded = _bytes(value[start:end], prefix[1])
    data = _base64(encoded) if prefix[2] in "bB" else binascii.a2b_qp(encoded, header=True)
    return data, prefix[1].lower(), end + 2


def _bytes(text: str, charset: str) -> bytes:
    """What a word holds should be ASCII. Where it is not, the sender wrote raw characters of its charset."""
    if text.isascii() or codec(charset) is None:
        return text.encode("utf-8", "replace")
    try:
        return text.encode(charset, "replace")
    except (LookupError, UnicodeError):
        return text.encode("utf-8", "replace")


def _base64(encoded: bytes) -> bytes:
    digits = NOT_BASE64.sub(b"", encoded)
    if len(digits) % 4 == 1:
        digits = digits[:-1]
    return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))
