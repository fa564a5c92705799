"""Encoded words in headers (RFC 2047), the broken ones too."""

import binascii
import re
from functools import lru_cache

from postroom.mime.charsets import codec, decode

SHORT = 300  # characters; longer values are not remembered
MAX_WORD = 4_000  # characters; the RFC says 75, senders do as they like
PREFIX = re.compile(r"=\?([^?*\s]{1,40}+)(?:\*[^?\s]{0,40})?\?([bBqQ])\?")
NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")
# As the RFC wants them. In base64 padding comes last, so that it needs no cleaning.
USUAL = re.compile(
    r"=\?([^?*\s]{1,40}+)\?(?:([qQ])\?([!->@-~]{0,1000}+)|[bB]\?([A-Za-z0-9+/]{0,1000}+={0,2}+))\?="
)
UNSAFE = re.compile("[\x00-\x1f\x7f]+")


def decode_words(value: str, defects: set[str]) -> str:
    """`value` with its encoded words replaced.

    White space between two words goes away (RFC 2047, 6.2), and neighbours in one charset are decoded
    together: many senders cut in the middle of a character.
    """
    if len(value) > SHORT:
        return _decode(value, defects)
    text, found = _remembered(value)
    defects |= found
    return text


@lru_cache(maxsize=512)
def _remembered(value: str) -> tuple[str, frozenset[str]]:
    """People and subjects come again and again, in one mail and in the next."""
    defects: set[str] = set()
    return _decode(value, defects), frozenset(defects)


def _decode(value: str, defects: set[str]) -> str:
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
        blank = not between or between.isspace()
        if pending and (not blank or word_charset != charset):
            out.append(decode(pending, charset, defects))
            if not blank or not out[-1]:
                out.append(between)
            pending = b""
        elif not pending:
            out.append(between)
        pending, charset = pending + data, word_charset
        at = copied = end
    if pending:
        out.append(decode(pending, charset, defects))
    out.append(value[copied:])
    text = "".join(out)
    return text if text.isprintable() else UNSAFE.sub(" ", text)


def _word(value: str, at: int) -> tuple[bytes, str, int] | None:
    usual = USUAL.match(value, at)
    if usual is not None:
        charset, quoted, quoted_text, text = usual.groups()
        if quoted is not None:
            return binascii.a2b_qp(quoted_text, header=True), charset.lower(), usual.end()
        try:
            return binascii.a2b_base64(text), charset.lower(), usual.end()
        except binascii.Error:
            pass
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
