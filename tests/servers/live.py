"""The application on a port of its own, and clients of its streams."""

import json
from asyncio import timeout
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from fastapi import FastAPI

from postroom.cli.listening import listening
from postroom.cli.serving import serving

from .api import Client
from .document import check_event, document_of


@dataclass(frozen=True, slots=True)
class Told:
    """A server-sent event."""

    event: str
    data: Any
    id: str | None


@asynccontextmanager
async def on_a_port(app: FastAPI) -> AsyncIterator[str]:
    """The application's URL, where it answers while the block runs."""
    with listening("127.0.0.1", 0) as listener:
        async with serving(app, listener):
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def served(app: FastAPI, key: str | None) -> AsyncIterator[Client]:
    """A client that shows this key, or none."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with (
        timeout(60),
        on_a_port(app) as url,
        httpx2.AsyncClient(
            base_url=url,
            headers=headers,
            timeout=20,
            event_hooks={"response": [document_of(app).check]},
        ) as client,
    ):
        yield client


async def events(client: Client, path: str, last: str | None = None, **asked: Any) -> AsyncIterator[Told]:
    """What a stream tells, from behind the last id that was seen."""
    headers = {} if last is None else {"Last-Event-ID": last}
    async with client.stream("GET", path, params=asked, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        fields: dict[str, str] = {}
        async for line in answer.aiter_lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            else:
                told = Told(fields["event"], json.loads(fields["data"]), fields.get("id"))
                check_event(path, told.event, told.data)
                yield told
                fields = {}
