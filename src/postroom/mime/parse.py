"""Read one mail, however broken it is: linear in its size, bounded by `limits`, and never an error."""

import re
from datetime import datetime
from typing import BinaryIO

from postroom.mime import addresses, attachments, dates, tnef, transfer
from postroom.mime.body import Body, preview
from postroom.mime.headers import Headers
from postroom.mime.limits import (
    CALENDAR_CHARS,
    CALENDARS,
    HTML_CHARS,
    ID_CHARS,
    IDS,
    PARTS,
    TEXT_CHARS,
    TNEF_BYTES,
)
from postroom.mime.model import Address, Attachment, ParsedMessage
from postroom.mime.source import FileSource, Source
from postroom.mime.structure import Declared, Head, Part, Walk
from postroom.mime.words import decode_words

ANGLE_ID = re.compile(r"<([^<>]++)>")
LIST_ID = re.compile(r"<([^<>]++)>\s*\Z")
TNEF = ("application/ms-tnef", "application/vnd.ms-tnef")
READ_AS_TEXT = ("text/plain", "text/html")


def parse(raw: bytes | memoryview) -> ParsedMessage:
    """Read `raw`; what could not be read is named in the defects."""
    data = bytes(raw)
    if b"\r" in data[:1000] and b"\n" not in data:  # lines end in CR alone; offsets stay the same
        data = data.replace(b"\r", b"\n")
    return read(data, len(data))


def parse_large(file: BinaryIO, size: int) -> ParsedMessage:
    """`parse` for a mail that should not lie in memory: `file` is read in pieces, from its beginning.

    Attachments are located and measured, texts read up to their limits.
    """
    return read(FileSource(file, size), size)


def read(source: Source, size: int) -> ParsedMessage:
    """`parse`, for any source of bytes."""
    defects: set[str] = set()
    walk = Walk(source, size, defects).run()
    content = _Content(source, defects)
    for part in walk.leaves:
        content.take(part)
    content.finish()
    text = content.body.text()
    html = content.body.html()
    head = walk.root.head
    fields, names = head.fields, head.names
    senders = _senders(fields, names, defects)
    return ParsedMessage(
        message_id=_message_id(fields, names, defects),
        in_reply_to=_ids(fields.get("in-reply-to"), defects),
        references=_ids(fields.get("references"), defects),
        subject=_unstructured(fields.get("subject", ""), defects),
        senders=senders,
        sender=next(iter(senders or _addresses(head, "sender", defects)), None),
        reply_to=_addresses(head, "reply-to", defects),
        to=_addresses(head, "to", defects),
        cc=_addresses(head, "cc", defects),
        bcc=_addresses(head, "bcc", defects),
        sent_at=_sent_at(fields.get("date"), defects),
        headers=_decoded(head.headers, defects),
        list_id=_list_id(fields.get("list-id")),
        list_unsubscribe=_unstructured(fields.get("list-unsubscribe", ""), defects) or None,
        text=text,
        html=html,
        preview=preview(text),
        attachments=tuple(content.attachments),
        calendar=tuple(content.calendar),
        defects=tuple(sorted(defects)),
    )


class _Content:
    """Sorts the leaves into texts, calendars and attachments."""

    def __init__(self, source: Source, defects: set[str]) -> None:
        self.source, self.defects = source, defects
        self.body = Body(source, defects)
        self.attachments: list[Attachment] = []
        self.calendar: list[str] = []
        self._first = True
        self._wrapped: list[tnef.Wrapped] = []

    def finish(self) -> None:
        """A mail that has no text but the one in its winmail.dat is read from there."""
        if self._wrapped and self.body.is_empty():
            for wrapped in self._wrapped:
                self.body.add_text(wrapped.text[:TEXT_CHARS], is_html=False)
                if wrapped.html:
                    self.body.add_text(wrapped.html[:HTML_CHARS], is_html=True)

    def take(self, part: Part) -> None:
        first, self._first = self._first, False
        declared = attachments.declared(part.head)
        if declared.defects:
            self.defects |= declared.defects
        disposition, name, kind = declared.disposition, declared.name, part.content_type
        shown = disposition != "attachment" and (first or name is None)
        if kind == "text/calendar":
            self._calendar(part, declared)
            if part.alternative and name is None and disposition != "attachment":
                return
        elif shown and kind in READ_AS_TEXT and not (part.related and name):
            self.body.add(part, declared)
            if self.body.embedded:
                self._attach_embedded()
            return
        elif shown and kind.startswith("text/") and disposition != "inline" and kind != "text/rfc822-headers":
            if not part.alternative:
                self.body.add(part, declared)
            return
        self._attach(part, disposition, name)

    def _attach(self, part: Part, disposition: str, name: str | None) -> None:
        inline = disposition == "inline" or (
            not disposition and (part.related or "content-id" in part.fields)
        )
        self.attachments.append(
            attachments.describe(
                self.source,
                part,
                len(self.attachments) + 1,
                "inline" if inline else "attachment",
                name,
                self.defects,
            )
        )

        container = self.attachments[-1]
        if container.content_type in TNEF or container.name == "winmail.dat":
            self._unwrap(container)

    def _unwrap(self, container: Attachment) -> None:
        if container.end - container.start > TNEF_BYTES:
            self.defects.add("tnef.unreadable")
            return
        wrapped = tnef.read(transfer.decode(self.source[container.start : container.end], container.encoding))
        if wrapped is None:
            self.defects.add("tnef.unreadable")
            return
        self._wrapped.append(wrapped)
        for file in wrapped.files[: self._room()]:
            number = len(self.attachments) + 1
            self.attachments.append(attachments.describe_wrapped(file, number, container))

    def _room(self) -> int:
        """How many more attachments may be found inside others."""
        return max(PARTS - len(self.attachments), 0)

    def _attach_embedded(self) -> None:
        for file in self.body.embedded[: self._room()]:
            number = len(self.attachments) + 1
            self.attachments.append(attachments.describe_embedded(file, number, self.source))
        self.body.embedded.clear()

    def _calendar(self, part: Part, declared: Declared) -> None:
        if len(self.calendar) >= CALENDARS:
            self.defects.add("calendar.too_many")
            return
        self.calendar.append(self.body.read(part, declared)[:CALENDAR_CHARS])


def _unstructured(value: str, defects: set[str]) -> str:
    return (decode_words(value, defects) if "=?" in value else value).strip()


def _decoded(found: Headers, defects: set[str]) -> tuple[tuple[str, str], ...]:
    return tuple(
        [
            (pair[0], decode_words(pair[1], defects).strip()) if "?" in pair[1] and "=?" in pair[1] else pair
            for pair in found
        ]
    )


def _senders(fields: dict[str, str], names: list[str], defects: set[str]) -> tuple[Address, ...]:
    count = names.count("from")
    if not count:
        defects.add("from.missing")
        return ()
    if count > 1:
        defects.add("from.ambiguous")
    return addresses.parse(fields["from"], "from.ambiguous", defects)


def _addresses(head: Head, name: str, defects: set[str]) -> tuple[Address, ...]:
    """All headers of that name together: there should be one, but two To headers were both meant."""
    if name not in head.fields:
        return ()
    if head.names.count(name) == 1:
        return addresses.parse(head.fields[name], "address.ambiguous", defects)
    pairs = zip(head.names, head.headers, strict=True)
    joined = ",".join(value for key, (_name, value) in pairs if key == name)
    return addresses.parse(joined, "address.ambiguous", defects)


def _message_id(fields: dict[str, str], names: list[str], defects: set[str]) -> str | None:
    value = fields.get("message-id", "").strip()
    if names.count("message-id") > 1:
        defects.add("message_id.repeated")
    angle = ANGLE_ID.search(value)
    found = "".join((angle[1] if angle else value.strip("<>")).split())[:ID_CHARS]
    if not found:
        defects.add("message_id.missing")
    return found or None


def _ids(value: str | None, defects: set[str]) -> tuple[str, ...]:
    if not value:
        return ()
    found = ["".join(id_.split()) for id_ in ANGLE_ID.findall(value)]
    if not found:
        found = [word.strip("<>,") for word in value.split() if "@" in word]
    found = [id_ for id_ in dict.fromkeys(found) if 0 < len(id_) <= ID_CHARS]
    if len(found) > IDS:
        defects.add("ids.too_many")
        found[1 : len(found) - IDS + 1] = []
    return tuple(found)


def _sent_at(value: str | None, defects: set[str]) -> datetime | None:
    if value is None:
        defects.add("date.missing")
        return None
    return dates.parse(value, defects)


def _list_id(value: str | None) -> str | None:
    if not value:
        return None
    angle = LIST_ID.search(value)
    return (angle[1] if angle else value).strip() or None
