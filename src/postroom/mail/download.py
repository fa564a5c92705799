"""Headers for what strangers have made, so that a browser keeps it and never runs it (RFC 6266). Pure."""

import re
from urllib.parse import quote

ISOLATED = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
}
HARMLESS = re.compile(
    r"image/(png|jpeg|gif|webp|bmp|tiff|heic|avif)|(audio|video)/[a-z0-9.+-]+|text/(plain|csv|calendar)"
    r"|application/(pdf|zip|gzip|msword|rtf|octet-stream|vnd\.[a-z0-9.-]+)|message/rfc822"
)
"""Types that a browser shows or stores; it could run none of them as a page. Others become octets."""
PLAIN = re.compile(r"[^\w .()+,=@-]|[^\x20-\x7e]", re.ASCII)


def content_type(declared: str) -> str:
    """The type to serve an attachment as."""
    return declared if HARMLESS.fullmatch(declared) else "application/octet-stream"


def disposition(name: str | None, otherwise: str) -> str:
    """To be saved under `name`: once for old clients, once as it is. `otherwise` is for a missing name."""
    wanted = name or otherwise
    plain = PLAIN.sub("_", wanted)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(wanted, safe='')}"


def etag(digest: bytes, part: int | None = None) -> str:
    """Weak, since the answer may be compressed on its way."""
    return f'W/"{digest.hex()}{"" if part is None else f".{part}"}"'


def unchanged(etag: str, if_none_match: str | None) -> bool:
    """Whether whoever asks has it already (RFC 9110, 13.1.2)."""
    if if_none_match is None:
        return False
    known = [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
    return "*" in known or etag.removeprefix("W/") in known
