"""Read messages, ready to be stored: parsed, compressed, cut into words. Pure, and off the event loop.

Whatever is wrong with one message stays with it: it is stored with its defects, not refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

from postroom.blobs.pack import Packed, pack, pack_head
from postroom.ids import AccountId, MessageId, TenantId
from postroom.mail.keep import keep
from postroom.mail.model import Folder, Incoming
from postroom.mime.model import Address, ParsedMessage
from postroom.mime.parse import parse, parse_large
from postroom.providers.model import RemoteItem, RemoteMessage
from postroom.search import document
from postroom.search.model import Row, Searchable

NOT_YET = MessageId(0)  # a message gets its number in the transaction that stores it

Batch = Sequence[tuple[RemoteMessage, RemoteItem]]


@dataclass(frozen=True, slots=True)
class Raw:
    """A message as it came, to be kept unread."""

    packed: Packed
    file: BinaryIO | None  # the content, where it is too large for memory
    flags: frozenset[str] | None
    received_at: datetime | None


@dataclass(frozen=True, slots=True)
class Prepared:
    incoming: Incoming
    packed: Packed
    words: Row
    file: BinaryIO | None  # the content, where it is too large for memory

    @property
    def raw(self) -> Raw:
        return Raw(self.packed, self.file, self.incoming.flags, self.incoming.received_at)

    def words_of(self, message: MessageId) -> Row:
        """What the index takes, now that the message has its number."""
        words = self.words
        return Row(message, words.account, words.received_at, words.vector, words.truncated)


def raw_of(message: RemoteMessage, item: RemoteItem) -> Raw:
    """Pack a message that cannot be read."""
    content = message.content
    flags = message.flags if message.flags is not None else item.flags
    received = message.received_at or item.received_at
    if isinstance(content, bytes):
        return Raw(pack(content), None, flags, received)
    return Raw(pack_head(content), content, flags, received)


def prepare(tenant: TenantId, folder: Folder, messages: Batch) -> list[Prepared]:
    """Read and pack each message; its flags and date are the scan's where the fetch did not repeat them."""
    now = datetime.now(UTC)
    return [_prepare(tenant, folder, message, item, now) for message, item in messages]


def _prepare(
    tenant: TenantId, folder: Folder, message: RemoteMessage, item: RemoteItem, now: datetime
) -> Prepared:
    content = message.content
    if isinstance(content, bytes):
        file, packed, parsed = None, pack(content), parse(content)
    else:
        file, packed, parsed = content, pack_head(content), parse_large(content, message.size)
    flags = message.flags if message.flags is not None else item.flags
    received = message.received_at or item.received_at or parsed.sent_at or now
    incoming = Incoming(
        folder_id=folder.id,
        uid=message.uid,
        flags=(flags or frozenset()) - {"\\Recent"},
        received_at=min(received, now),  # mail that a server dates into the future would stay on top for ever
        digest=packed.digest,
        size=message.size,
        kept=keep(parsed),
        object_id=item.object_id,
    )
    searchable = _searchable(folder.account_id, incoming.received_at, parsed)
    return Prepared(incoming, packed, document.prepare(tenant, searchable), file)


def _searchable(account: AccountId, received: datetime, parsed: ParsedMessage) -> Searchable:
    return Searchable(
        message=NOT_YET,
        account=account,
        received_at=received,
        subject=parsed.subject,
        sender=_words((parsed.sender,) if parsed.sender else ()),
        to=_words(parsed.to),
        cc=_words((*parsed.cc, *parsed.bcc)),
        list_id=parsed.list_id or "",
        message_id=parsed.message_id or "",
        attachments=tuple(attachment.name or "" for attachment in parsed.attachments),
        body=parsed.text,
    )


def _words(addresses: Sequence[Address]) -> str:
    return ", ".join(f"{address.name} {address.address}" for address in addresses)
