"""Headers for what strangers have made, so that a browser keeps it and never runs it (RFC 6266). Pure."""

import re
from urllib.parse import quote

from postroom.mime.model import Attachment

ISOLATED = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
}
HARMLESS = re.compile(
    r"image/(png|jpeg|gif|webp|bmp|tiff|heic|avif)|(audio|video)/[a-z0-9.-]+|text/(plain|csv|calendar)"
    r"|application/(pdf|zip|gzip|msword|rtf|octet-stream|vnd\.[a-z0-9.-]+)|message/rfc822"
)
"""Types that a browser shows or stores; it could run none of them as a page. Others become octets.

So does whatever ends in `+xml`, be it called audio: browsers read it as a document.
"""
PLAIN = re.compile(r"[^\w .()+,=@-]|[^\x20-\x7e]", re.ASCII)


def content_type(declared: str) -> str:
    """The type to serve an attachment as."""
    return declared if HARMLESS.fullmatch(declared) else "application/octet-stream"


def disposition(name: str | None, otherwise: str) -> str:
    """To be saved under `name`: once for old clients, once as it is. `otherwise` is for a missing name."""
    wanted = name or otherwise
    plain = PLAIN.sub("_", wanted)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(wanted, safe='')}"


def etag(digest: bytes) -> str:
    """Of a raw message: a strong one, as its digest names its bytes."""
    return f'"{digest.hex()}"'


def etag_of(digest: bytes, attachment: Attachment) -> str:
    """Of an attachment: what was read where, so that it changes when mail is read differently."""
    return f'"{digest.hex()}.{attachment.start}-{attachment.end}.{attachment.encoding}"'
