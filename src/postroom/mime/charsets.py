"""Bytes in some charset, or a wrong one, to text. Always gives text, and always text that UTF-8 can hold.

The ladder: pure ASCII; what the sender declared, in its wider form (everybody who says iso-8859-1 means
windows-1252); UTF-8 if it decodes; the declared charset with U+FFFD for the holes; windows-1252 for the rest.
"""

import codecs
import re
from collections.abc import Callable
from functools import lru_cache

Decode = Callable[[bytes, str], tuple[str, int]]

WIDER = {
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "big5": "big5hkscs",
    "iso2022_jp": "iso2022_jp_ext",
    "utf-8": "utf-8-sig",
}
# Names that mail uses and Python does not know.
ALIASES = {
    "unicode-1-1-utf-7": "utf-7",
    "x-unknown": "cp1252",
    "unknown-8bit": "cp1252",
    "ansi_x3.110-1983": "cp1252",
    "iso-8859-8-i": "iso8859-8",
    "iso-8859-8-e": "iso8859-8",
    "iso-8859-6-i": "iso8859-6",
    "cp-850": "cp850",
    "x-sjis": "cp932",
    "x-gbk": "gb18030",
    "x-euc-jp": "euc_jp",
    "x-mac-roman": "mac-roman",
    "x-mac-cyrillic": "mac-cyrillic",
    "ks_c_5601-1987": "cp949",
    "ks_c_5601": "cp949",
    "windows-949": "cp949",
    "windows-874": "cp874",
    "windows-31j": "cp932",
    "windows-936": "gb18030",
    "chinesebig5": "big5hkscs",
    "big5-hkscs": "big5hkscs",
    "utf8mb4": "utf-8",
    "unicode": "utf-16",
}
# Python's list of codecs also holds compression and things that take quadratic time (punycode, idna).
ALLOWED = re.compile(
    r"(?:utf-(?:7|8|8-sig|16|16-le|16-be|32|32-le|32-be)|ascii|cp\d+|iso8859-\d+|koi8-[rut]|mac-[a-z]+|gb18030|big5hkscs"
    r"|euc_j\w+|euc_kr|cp949|johab|hz|shift_jis\w*|iso2022_\w+|tis-620|ptcp154|kz1048|hp-roman8)\Z"
)
# In these, bytes below 0x80 are not ASCII.
NOT_ASCII = re.compile(r"(?:utf-(?:7|16|32)|iso2022|hz)")
REAL = re.compile("[^\x00-\x7f\ufffd]")
SURROGATE = re.compile("[\ud800-\udfff]")


def _windows(data: bytes, errors: str) -> tuple[str, int]:
    """windows-1252 as browsers read it: its five holes are control characters, so that nothing fails."""
    try:
        return data.decode("cp1252"), len(data)
    except UnicodeDecodeError:
        if errors == "strict":
            raise
        return codecs.charmap_decode(data, errors, WHATWG_1252)


def _ascii(data: bytes, errors: str) -> tuple[str, int]:
    """Whoever declares us-ascii and sends more meant nothing by it: UTF-8 is tried, then windows-1252."""
    return (data.decode("ascii"), len(data)) if errors == "strict" else _windows(data, errors)


WHATWG_1252 = "".join(bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(256))


@lru_cache(maxsize=256)
def codec(name: str) -> tuple[Decode, bool] | None:
    """The decoder for a declared charset and whether ASCII is itself in it; None for names we do not know."""
    key = name.strip().strip("\"'").lower()[:40]
    try:
        known = codecs.lookup(ALIASES.get(key, key))
        known = codecs.lookup(WIDER.get(known.name, known.name))
    except (LookupError, ValueError):
        return None
    if not ALLOWED.match(known.name):
        return None
    if known.name == "ascii":
        return _ascii, True
    if known.name == "cp1252":
        return _windows, True
    return known.decode, not NOT_ASCII.match(known.name)


def holds_ascii(declared: str | None) -> bool:
    """Whether bytes below 0x80 are ASCII in text that is declared so."""
    known = codec(declared) if declared else None
    return known is None or known[1]


def decode(data: bytes, declared: str | None, defects: set[str]) -> str:
    """`data` as text, along the ladder above."""
    known = codec(declared) if declared else None
    if known is None:
        if declared:
            defects.add("charset.unknown")
        return guess(data)
    decoder, over_ascii = known
    if over_ascii and data.isascii():
        return data.decode("ascii")
    try:
        text = decoder(data, "strict")[0]
    except (UnicodeDecodeError, UnicodeError):
        defects.add("charset.wrong")
        text = _second_try(data, decoder)
    return text if over_ascii else _without_surrogates(text)


def _without_surrogates(text: str) -> str:
    try:
        text.encode()  # takes a tenth of the time of a search
    except UnicodeEncodeError:
        return SURROGATE.sub("\ufffd", text)
    return text


def guess(data: bytes, fallback: str | None = None) -> str:
    """Undeclared text: UTF-8 if it decodes, else `fallback`, else windows-1252."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        known = codec(fallback) if fallback else None
        decoder = known[0] if known else _windows
        text = decoder(data, "replace")[0]
        return SURROGATE.sub("\ufffd", text) if known else text


def _second_try(data: bytes, decoder: Decode) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = decoder(data, "replace")[0]
    if REAL.search(text):
        return text
    return _windows(data, "replace")[0]  # not one character was right: it is no text in that charset
