"""How folders are called on the wire: modified UTF-7, unless a fault has it otherwise.

With such a fault a folder is known by the very bytes that it is listed with, and by nothing else.
"""

import re
from collections.abc import Callable, Iterable

from postroom.lab.faults import Faults
from postroom.lab.names import decode_name, encode_name

SHIFTED = re.compile(rb"&([^-&])([^-&]+)-")
DOTS = "prefix-appears"


def _below_inbox(name: str, raw: bytes) -> bytes:
    return raw if name == "INBOX" else b"INBOX." + raw.replace(b"/", b".")


def _ended(name: str, raw: bytes) -> bytes:
    return raw if name == "INBOX" else raw + b"%*"


def _climbing(name: str, raw: bytes) -> bytes:
    return raw if name == "INBOX" else b"../../" + raw


NAMINGS: dict[str, Callable[[str, bytes], bytes]] = {
    "names-exact": lambda _, raw: raw,
    "names-utf8": lambda name, _: name.encode("utf-8", "surrogateescape"),
    "names-invalid": lambda _, raw: SHIFTED.sub(rb"&\1&\2-", raw),
    "list-tabs": lambda _, raw: raw.replace(b" ", b"\t"),
    "names-wild": _ended,
    DOTS: _below_inbox,
    "names-traversal": _climbing,
    "inbox-mixed-case": lambda name, raw: b"Inbox" if name == "INBOX" else raw,
}


def shown(faults: Faults, name: str) -> bytes:
    """How the server names a folder."""
    raw = encode_name(name).encode("utf-8", "surrogateescape")
    for fault in faults.among(NAMINGS):
        raw = NAMINGS[fault](name, raw)
    return raw


def meant(faults: Faults, raw: bytes, names: Iterable[str]) -> str | None:
    """Which of the names a client means; None: another one that is not there."""
    decoded = decode_name(raw.decode("utf-8", "surrogateescape"))
    if decoded.upper() == "INBOX":
        return "INBOX"
    if not faults.among(NAMINGS):
        return decoded
    return next((name for name in names if shown(faults, name) == raw), None)


def delimiter(faults: Faults, usual: str) -> str:
    """What parts the levels of names."""
    return "." if faults.active(DOTS) else usual
