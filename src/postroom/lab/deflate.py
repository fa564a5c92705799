"""The lab server's side of COMPRESS (RFC 4978): what it hears and says, once compressed."""

import asyncio
import zlib
from asyncio import StreamReader, StreamWriter
from typing import Any, Protocol

RAW = -15
READ = 1 << 16
GARBAGE = b"\xff" * 16


class Hears(Protocol):
    """As much of a StreamReader as a session needs."""

    async def readline(self) -> bytes: ...
    async def readexactly(self, n: int, /) -> bytes: ...
    async def read(self, n: int = -1, /) -> bytes: ...


class Says(Protocol):
    """As much of a StreamWriter as a session needs."""

    @property
    def transport(self) -> asyncio.WriteTransport: ...
    def write(self, data: bytes, /) -> None: ...
    async def drain(self) -> None: ...
    def get_extra_info(self, name: str, /) -> Any: ...


class Inflated:
    """What a client says. A line or a literal may be longer than the client would ever send: it is ours."""

    def __init__(self, reader: StreamReader) -> None:
        self._reader, self._inflate = reader, zlib.decompressobj(RAW)
        self._heard = bytearray()

    async def readline(self) -> bytes:
        while (end := self._heard.find(b"\n")) < 0:
            if not await self._more():
                end = len(self._heard) - 1
                break
        return self._taken(end + 1)

    async def readexactly(self, n: int, /) -> bytes:
        while len(self._heard) < n:
            if not await self._more():
                raise asyncio.IncompleteReadError(bytes(self._heard), n)
        return self._taken(n)

    async def read(self, n: int = -1, /) -> bytes:
        while (n < 0 or not self._heard) and await self._more():
            pass
        return self._taken(len(self._heard) if n < 0 else n)

    async def _more(self) -> bool:
        """Whether the client said more. Raises ValueError for what is not compressed."""
        data = await self._reader.read(READ)
        try:
            self._heard += self._inflate.decompress(data)
        except zlib.error as error:
            raise ValueError("the client does not compress") from error
        return bool(data)

    def _taken(self, size: int) -> bytes:
        taken = bytes(self._heard[:size])
        del self._heard[:size]
        return taken


class Deflated:
    """What the server says; `garbled` makes it something that cannot be inflated."""

    def __init__(self, writer: StreamWriter, *, garbled: bool) -> None:
        self._writer, self._garbled = writer, garbled
        self._deflate = zlib.compressobj(wbits=RAW)

    @property
    def transport(self) -> asyncio.WriteTransport:
        return self._writer.transport

    def write(self, data: bytes, /) -> None:
        if self._garbled:
            self._writer.write(GARBAGE)
        self._writer.write(self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH))

    async def drain(self) -> None:
        await self._writer.drain()

    def get_extra_info(self, name: str, /) -> Any:
        return self._writer.get_extra_info(name)
