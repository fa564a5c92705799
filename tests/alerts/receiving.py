"""The operator's receiver: a real HTTP server on this machine that takes messages, or does not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

STATUS = {True: b"204 No Content", False: b"503 Service Unavailable"}


@dataclass
class Receiver:
    url: str = ""
    takes: bool = True
    drops: int = 0  # requests to be taken without an answer
    asked: int = 0
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)  # headers and bodies

    @property
    def told(self) -> list[tuple[str, str]]:
        """Of each message its type and the kind of its alert."""
        return [(body["type"], body["data"]["kind"]) for body in self.bodies]

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [orjson.loads(body) for _, body in self.got]

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    here = Receiver()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        named = (line.split(": ", 1) for line in lines if line)
        headers = {name.lower(): value for name, value in named}
        body = await reader.readexactly(int(headers["content-length"]))
        here.asked += 1
        if here.takes:
            here.got.append((headers, body))
        if here.drops:
            here.drops -= 1
        else:
            writer.write(b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % STATUS[here.takes])
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        here.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/alerts?to=me"
        yield here
