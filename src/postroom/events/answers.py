"""How events look from outside: on the command line, in a stream, on a WebSocket."""

from typing import Any
from uuid import UUID

import orjson

from . import feed
from .model import Entry


def out(entry: Entry, account: UUID | None) -> dict[str, Any]:
    """To be written by `orjson`. `account` is that of its stream, None where that is gone or none."""
    return {
        "cursor": feed.cursor_of(entry),
        "account": account,
        "stream": entry.stream,
        "seq": entry.seq,
        "at": entry.at,
        "kind": entry.kind,
        "data": orjson.Fragment(entry.body),
    }
