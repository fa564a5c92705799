"""An answer that goes out in pieces, as they are read."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from fastapi.responses import Response, StreamingResponse


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
    return StreamingResponse(whole(), status, headers | {"Content-Type": media_type})
