"""Bounds on what strangers may send."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from postroom.http import problems

LARGEST_BODY = 1 << 20
"""Bytes of a request's body. No route takes more than a small JSON document."""


class BodyLimit:
    """Answers 413 as soon as a body is, or turns out to be, too large; the rest of it is not read."""

    def __init__(self, app: ASGIApp, largest: int = LARGEST_BODY) -> None:
        self.app = app
        self.largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and (len(announced) > 18 or int(announced) > self.largest):
            await problems.routing(413)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.largest:
                raise HTTPException(413)  # the only kind that FastAPI lets through while it reads a body
            return message

        await self.app(scope, counted, send)
