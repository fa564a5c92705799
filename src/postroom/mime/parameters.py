"""The parameters of Content-Type and Content-Disposition: `text/plain; charset=utf-8` (RFC 2045, 2231)."""

import re
from functools import lru_cache
from itertools import islice
from types import MappingProxyType
from urllib.parse import unquote_to_bytes

from postroom.mime.charsets import decode, guess
from postroom.mime.limits import PARAMETERS
from postroom.mime.words import decode_words

# A quoted value, or anything up to the next semicolon: file names often come with bare spaces.
PARAMETER = re.compile(r';\s*+([^\s=;"]++)\s*+=\s*+(?:"((?:[^"\\]++|\\.)*+)"|([^;]*+))', re.DOTALL)
ESCAPED = re.compile(r"\\(.)", re.DOTALL)
TYPE = re.compile(r"[a-z0-9!#$&^_.+-]++/[a-z0-9!#$&^_.+-]++\Z")

Parameters = MappingProxyType[str, str]
NONE: Parameters = MappingProxyType({})


@lru_cache(maxsize=512)
def _split(value: str) -> tuple[str, Parameters]:
    main, semicolon, _ = value.partition(";")
    main = main.strip().lower()
    if not semicolon:
        return main, NONE
    found: dict[str, str] = {}
    for match in islice(PARAMETER.finditer(value, len(main)), PARAMETERS):
        name, quoted, bare = match.groups()
        if quoted is None:
            text = bare.strip().strip('"')
        else:
            text = ESCAPED.sub(r"\1", quoted) if "\\" in quoted else quoted
        found.setdefault(name.lower(), text)
    return main, MappingProxyType(found)


def split(value: str) -> tuple[str, Parameters]:
    """The value before the first semicolon, in lower case, and the parameters as written."""
    return _split(value) if len(value) < 300 else _split.__wrapped__(value)


def content_type(value: str) -> tuple[str, Parameters]:
    """`type/subtype` and parameters; text/plain for what makes no sense (RFC 2045, 5.2)."""
    main, parameters = split(value)
    if not TYPE.match(main):
        main = main.split(" ", 1)[0].split("(", 1)[0]
        if main == "text" or not TYPE.match(main):
            main = "text/plain"
    return main, parameters


def token(parameters: Parameters, name: str) -> str | None:
    """A parameter that is one word, such as a charset; comments and stray quotes are cut off."""
    value = parameters.get(name)
    if value is None:
        if not parameters:
            return None
        value = text(parameters, name, set())
    words = value.replace("(", " ").replace("'", " ").split(None, 1) if value else None
    return words[0] if words else None


def text(parameters: Parameters, name: str, defects: set[str]) -> str | None:
    """A parameter for people, such as a file name: RFC 2231 with continuations, encoded words, or plain."""
    extended = parameters.get(name + "*")
    if extended is not None:
        return _extended(extended, defects)
    value = parameters.get(name)
    if value is not None:
        return decode_words(value, defects) if "=?" in value else value
    return _continued(parameters, name, defects)


def _extended(value: str, defects: set[str]) -> str:
    charset, quote, rest = value.partition("'")
    _language, second, encoded = rest.partition("'")
    if not (quote and second):
        return guess(unquote_to_bytes(value))
    return decode(unquote_to_bytes(encoded), charset or "utf-8", defects)


def _continued(parameters: Parameters, name: str, defects: set[str]) -> str | None:
    pieces: list[bytes] = []
    charset: str | None = None
    for number in range(PARAMETERS):
        plain = parameters.get(f"{name}*{number}")
        encoded = parameters.get(f"{name}*{number}*")
        if encoded is not None:
            if number == 0 and encoded.count("'") >= 2:
                charset, _language, encoded = encoded.split("'", 2)
            pieces.append(unquote_to_bytes(encoded))
        elif plain is not None:
            pieces.append(plain.encode("utf-8", "replace"))
        else:
            break
    if not pieces:
        return None
    joined = b"".join(pieces)
    if charset is None:
        value = guess(joined)
        return decode_words(value, defects) if "=?" in value else value
    return decode(joined, charset or "utf-8", defects)
