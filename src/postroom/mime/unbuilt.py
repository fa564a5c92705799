"""What _transfer.c does, in Python: for where it could not be built, and for the tests that compare."""

import binascii
import re

import pybase64

BASE64_DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
NOT_BASE64 = bytes(byte for byte in range(256) if byte not in BASE64_DIGITS)
SOFT_BREAK = re.compile(rb"=[ \t]++(?=\r?\n)")
BARE_CR = re.compile(rb"=\r(?!\n)")


def quoted_printable(data: bytes) -> bytes:
    """Soft breaks that a gateway put white space behind are mended (RFC 2045, 6.7)."""
    if b"= " in data or b"=\t" in data:
        data = SOFT_BREAK.sub(b"=", data)
    if data.count(b"=\r") != data.count(b"=\r\n"):  # up to the next LF all would be lost
        data = BARE_CR.sub(b"=\n", data)
    return binascii.a2b_qp(data)


def base64_digits(data: bytes) -> int:
    """How many there are in data without padding. Decoding takes half the time of leaving out the rest."""
    try:
        return len(pybase64.b64decode(data)) // 3 * 4
    except binascii.Error:  # they are no whole groups of four
        return len(data.translate(None, NOT_BASE64))
