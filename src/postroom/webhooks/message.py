"""What is posted: an event as the feed tells it, and its id. Pure.

The id follows from webhook and event: whoever sends it again, after a crash, a failure or for a replay, sends
the same one, and a receiver that remembers ids carries out nothing twice.
"""

from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson

from postroom.events.answers import out
from postroom.events.follow import Heard
from postroom.events.model import Entry

FORM = "webhook"
TEST = "webhooks.test"
"""The type of what is sent as a test; no event of the log is of it."""


def id_of(webhook: UUID, entry: Entry) -> str:
    """The hash of an entry covers all before it, so another log has other ones under the same numbers."""
    return "msg_" + sha256(webhook.bytes + entry.hash).hexdigest()[:32]


def body_of(heard: Heard) -> bytes:
    """Written once for all webhooks that are told of it."""
    if FORM not in heard.written:
        told = out(heard.entry, heard.account)
        heard.written[FORM] = _body(heard.entry.kind, heard.entry.at, told)
    written: bytes = heard.written[FORM]
    return written


def test_of(webhook: UUID, at: Any) -> bytes:
    return _body(TEST, at, {"webhook": webhook})


def _body(type: str, at: Any, data: Any) -> bytes:
    return orjson.dumps({"type": type, "timestamp": at, "data": data}, default=str)
