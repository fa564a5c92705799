"""Answers are compressed for who can read that, except for stored bytes."""

import re

from starlette.datastructures import Headers
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware, IdentityResponder
from starlette.types import ASGIApp, Receive, Scope, Send

AS_IT_IS = (
    *DEFAULT_EXCLUDED_CONTENT_TYPES,
    "application/octet-stream",
    "application/pdf",
    "message/rfc822",
)
"""Types of answers that are not compressed: large, on their way in pieces, and mostly compressed inside."""
STORED = re.compile(r"/(?:raw|attachments/[0-9]+)\Z")
"""Paths of stored bytes. Their tags name these bytes, and ranges count them: see `ranges`."""
NOT_AT_ALL = re.compile(r"q[ \t]*=[ \t]*0(?:\.0*)?", re.IGNORECASE)


def is_wanted(accept_encoding: str) -> bool:
    """Whether gzip may be sent: it is named, and not with the weight 0 (RFC 9110, 12.5.3)."""
    named = (coding.partition(";") for coding in accept_encoding.split(","))
    weights = [weight.strip() for name, _, weight in named if name.strip().lower() == "gzip"]
    return bool(weights) and not any(map(NOT_AT_ALL.fullmatch, weights))


class Compressed(GZipMiddleware):
    """`GZipMiddleware` with our settings."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app, minimum_size=1000, compresslevel=1, exclude_content_types=AS_IT_IS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if STORED.search(scope.get("path", "")):
            await self.app(scope, receive, send)
        elif scope["type"] == "http" and not is_wanted(Headers(scope=scope).get("accept-encoding", "")):
            plain = IdentityResponder(
                self.app, self.minimum_size, exclude_content_types=self.exclude_content_types
            )
            await plain(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)
