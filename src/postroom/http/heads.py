"""HEAD is answered as GET would be, without the content (RFC 9110, 9.3.2)."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from postroom.http.problems import path_of


class Heads:
    """Asks what is inside by GET, and hands on how the answer begins.

    Whoever makes the rest of it is told that nobody listens any more: a stream ends, a download reads no
    further.
    """

    def __init__(self, app: ASGIApp, changing: tuple[str, ...] = ()) -> None:
        """`changing`: how paths begin where a GET changes something, which HEAD must not."""
        self.app = app
        self.changing = changing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or scope["method"] != "HEAD"
            or (self.changing and path_of(scope).startswith(self.changing))
        ):
            await self.app(scope, receive, send)
            return
        begun = asyncio.Event()

        async def nothing() -> Message:
            await begun.wait()
            return {"type": "http.disconnect"}

        async def begin(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})
                begun.set()

        asked = {**scope, "method": "GET"}
        try:
            await self.app(asked, nothing, begin)
        finally:
            scope["route"] = asked.get("route")  # for the log
