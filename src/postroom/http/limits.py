"""Bounds on what strangers may send, and on how long that may take."""

import asyncio
from datetime import timedelta

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from postroom import telemetry
from postroom.errors import TryLater
from postroom.http import problems

LARGEST_BODY = 1 << 20
"""Bytes of a request's body. No route takes more than a small JSON document."""

READING = frozenset({"GET", "HEAD", "OPTIONS"})
LONGER = 3
"""How many times longer a request may take that changes something: it may wait for a mail server."""
AGAIN = timedelta(seconds=5)

log = telemetry.logger()


class TooSlow(TryLater):
    code = "http.too_slow"


class TimeLimit:
    """Answers 503 where no answer has begun in time, and gives up the work on it.

    A statement that runs ends with its connection, which PostgreSQL notices within two seconds (`db.alive`).
    An answer that has begun is not cut off: a download takes as long as its reader likes.
    """

    def __init__(self, app: ASGIApp, limit: timedelta) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def watch(message: Message) -> None:
            if not timeout.expired():  # else it begins just now, and nobody waits for it any more
                timeout.reschedule(None)
                await send(message)

        times = 1 if scope["method"] in READING else LONGER
        timeout = asyncio.timeout(self.limit.total_seconds() * times)
        scope.setdefault("state", {})["time_limit"] = timeout
        try:
            async with timeout:
                await self.app(scope, receive, watch)
        except TimeoutError:
            if not timeout.expired():
                raise
            log.warning("http.too_slow", seconds=self.limit.total_seconds() * times)
            error = TooSlow("This took too long and was given up; ask for less, or again later.", wait=AGAIN)
            await problems.of(error, problems.request_id(scope))(scope, receive, send)


def allow(request: Request, wait: timedelta) -> None:
    """Let this request take so much longer: it was asked to wait, or has to, for a server."""
    timeout: asyncio.Timeout = request.state.time_limit
    if (end := timeout.when()) is not None:
        timeout.reschedule(end + wait.total_seconds())


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
