"""Answers are compressed for who can read that, except for stored bytes."""

import re

from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
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


class Compressed(GZipMiddleware):
    """`GZipMiddleware` with our settings."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app, minimum_size=1000, compresslevel=1, exclude_content_types=AS_IT_IS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if STORED.search(scope.get("path", "")):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)
