"""What a mail is once it has been read: plain values, valid text, nothing unbounded.

Every string in here is valid UTF-8 without NUL and without lone surrogates, so that PostgreSQL, JSON and
a browser take it as it is. Nothing in here was checked for truth: whoever wrote the mail chose all of it.
"""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Address:
    """One mailbox of an address list (RFC 5322, 3.4); members of groups stand beside the others."""

    name: str  # display name, decoded; '' when there is none
    address: str  # local part as written, domain in lower case; '' when there is none


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part that is not read as text. Its bytes stay in the raw mail: see `attachments.content`."""

    number: int  # 1, 2, ... in order of appearance
    name: str | None  # decoded file name: no path, no control characters
    content_type: str  # always `type/subtype`, lower case
    size: int  # bytes, decoded
    content_id: str | None  # without <>
    disposition: str  # 'attachment' or 'inline'
    start: int  # the encoded bytes are raw[start:end]
    end: int
    # 'base64', 'quoted-printable', 'x-uuencode', or '' for none; with '+tnef:7-9' behind it the attachment is
    # bytes 7 to 9 of the winmail.dat that is there
    encoding: str


@dataclass(frozen=True, slots=True)
class ParsedMessage:
    """A mail as a person would see it.

    `text` holds the plain text parts in order; where the mail says something in HTML only, the words of that
    HTML. `html` holds the HTML parts as sent: never show it unsanitised. It is None when no part is HTML. A
    plain part that stands beside HTML parts (a list's footer) is in it too, escaped: either field is the
    whole mail.

    `defects` are short stable words for what was wrong, sorted; `limits` lists them.
    """

    message_id: str | None  # without <>
    in_reply_to: tuple[str, ...]
    references: tuple[str, ...]
    subject: str
    senders: tuple[Address, ...]  # From
    sender: Address | None  # the first From; without one, the Sender header
    reply_to: tuple[Address, ...]
    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    bcc: tuple[Address, ...]
    sent_at: datetime | None  # aware, UTC
    headers: tuple[tuple[str, str], ...]  # decoded, in order, names as written
    list_id: str | None  # without <>
    list_unsubscribe: str | None  # as written
    text: str
    html: str | None
    preview: str  # the first 200 characters that a reader would see, on one line
    attachments: tuple[Attachment, ...]
    calendar: tuple[str, ...]  # text/calendar parts, decoded
    defects: tuple[str, ...]

    def header(self, name: str) -> str | None:
        """The first header of that name, in any case."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)
