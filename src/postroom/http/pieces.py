"""An answer that goes out in pieces, as they are read."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import timedelta

from fastapi.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from postroom import telemetry

PATIENCE = timedelta(minutes=1)
"""How long a client may take nothing: what it is sent comes from a connection to the database."""

log = telemetry.logger()


async def streamed(
    pieces: AsyncGenerator[bytes], media_type: str, headers: dict[str, str], status: int = 200
) -> Response:
    """Read the first piece before the answer begins: what fails there is still a problem and not a cut."""
    first = await anext(pieces, b"")

    async def whole() -> AsyncIterator[bytes]:
        async with aclosing(pieces):
            yield first
            async for piece in pieces:
                yield piece

    # As a header, lest every text be called UTF-8.
    return _Pieces(whole(), status, headers | {"Content-Type": media_type})


class _Pieces(StreamingResponse):
    """Is cut off where the client takes nothing any more; so nothing is held for it for ever."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = PATIENCE.total_seconds()
        is_slow = False

        async def give(message: Message) -> None:
            nonlocal is_slow
            try:
                async with asyncio.timeout(limit) as patience:
                    await send(message)
            except TimeoutError:
                is_slow = patience.expired()
                raise

        try:
            await super().__call__(scope, receive, give)
        except TimeoutError:
            if not is_slow:
                raise
            log.warning("http.slow_reader", seconds=limit)
        finally:
            await self.body_iterator.aclose()  # type: ignore[attr-defined]  # it is `whole`
