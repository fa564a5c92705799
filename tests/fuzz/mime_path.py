"""A mail on its way in and out: read, kept, cut into words, packed, made safe to show, attachments taken out.

MIME never raises. What comes out can be stored, is the same from a file, and is not dangerous.
"""

from datetime import UTC, datetime
from io import BytesIO
from uuid import UUID

from mime.checking import check as check_message
from mime.checking import dangers

from postroom.blobs.pack import expand
from postroom.ids import AccountId, FolderId, TenantId
from postroom.mail.model import Folder
from postroom.mime import attachments
from postroom.mime.html import sanitise
from postroom.mime.parse import parse, parse_large
from postroom.providers.model import RemoteItem, RemoteMessage
from postroom.sync.prepare import prepare

TENANT = TenantId(1)
FOLDER = Folder(FolderId(1), UUID(int=1), AccountId(1), b"INBOX", "INBOX", "inbox", selectable=True)
ITEM = RemoteItem(1, frozenset(), None, datetime(2026, 1, 1, tzinfo=UTC))


def check(raw: bytes) -> None:
    """Raises whatever should not be: a bug was found."""
    message = parse(raw)
    check_message(message)
    if b"\r" not in raw or b"\n" in raw:  # `parse` alone makes lines of a mail that has only CR
        assert parse_large(BytesIO(raw), len(raw)) == message, "a file is read differently"
    for item in message.attachments:
        data = attachments.content(raw, item)
        assert len(data) == item.size, "an attachment is not as long as it says"
        middle = (item.start + item.end) // 2
        chunks = [raw[item.start : middle], raw[middle : item.end]]
        assert b"".join(attachments.stream(chunks, item)) == data
    if message.html is not None:
        clean = sanitise(message.html).html
        clean.encode()
        assert dangers(clean) == []
        assert sanitise(clean).html == clean, "cleaning twice changes something"
    (ready,) = prepare(TENANT, FOLDER, [(RemoteMessage(1, raw, len(raw)), ITEM)])
    packed = ready.packed
    assert b"".join(map(expand, [packed.head, *packed.rest])) == raw, "the bytes out are not the bytes in"
