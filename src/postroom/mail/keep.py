"""Take from a parsed mail what the tables keep, in their form. Pure; done off the event loop."""

from collections.abc import Sequence
from operator import attrgetter

import orjson

from postroom.mime.model import Address, ParsedMessage

from .model import Kept
from .threads import keys_of

_columns = attrgetter(
    "number", "name", "content_type", "size", "content_id", "disposition", "start", "end", "encoding"
)


def keep(parsed: ParsedMessage) -> Kept:
    sender = parsed.sender
    recipients = {
        "to": _people(parsed.to),
        "cc": _people(parsed.cc),
        "bcc": _people(parsed.bcc),
        "reply_to": _people(parsed.reply_to),
    }
    return Kept(
        message_id=parsed.message_id,
        subject=parsed.subject,
        sender_name=sender.name if sender else "",
        sender_address=sender.address if sender else "",
        recipients=orjson.dumps(recipients),
        sent_at=parsed.sent_at,
        preview=parsed.preview,
        list_id=parsed.list_id,
        text=parsed.text,
        attachments=tuple(map(_columns, parsed.attachments)),
        keys=keys_of(parsed),
        defects=" ".join(parsed.defects),
    )


def _people(addresses: Sequence[Address]) -> list[list[str]]:
    return [[address.name, address.address] for address in addresses]
