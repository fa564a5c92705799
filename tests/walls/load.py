"""Clients that ask without end, and mind how they are answered while the database comes and goes."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx2
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from postroom.http.problems import MEDIA_TYPE

A_MOMENT = 0.02
"""Seconds between a refusal and the next question: whoever asks at once only keeps the machine busy."""


@dataclass
class Mood:
    """How all of them are answered at present. `wake` whoever waits for that to change."""

    good: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest: dict[str, float] = field(default_factory=dict)  # seconds, by question
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def note(self, who: str, *, is_good: bool, seconds: float = 0.0) -> None:
        self.slowest[who] = max(self.slowest.get(who, 0.0), seconds)
        (self.good if is_good else self.refused)[who] += 1
        async with self.changed:
            self.changed.notify_all()

    async def until(self, counted: Counter[str], who: set[str], times: int = 2) -> None:
        """Until each of these was answered so, a few times more than now."""
        wanted = {name: counted[name] + times for name in who}
        async with self.changed:
            await self.changed.wait_for(
                lambda: bool(self.wrong) or all(counted[name] >= wanted[name] for name in who)
            )


@dataclass(frozen=True, slots=True)
class Question:
    name: str
    method: str
    path: str
    statuses: tuple[int, ...] = (200,)
    body: Any = None


async def ask_on(client: httpx2.AsyncClient, one: Question, mood: Mood) -> None:
    """Ask the same for ever."""
    now = asyncio.get_running_loop().time
    while True:
        began = now()
        try:
            answer = await client.request(one.method, one.path, json=one.body)
        except httpx2.HTTPError as error:
            mood.wrong.append(f"{one.name}: {error!r} after {now() - began:.1f} s")
            await mood.note(one.name, is_good=False)
            return
        is_good = answer.status_code in one.statuses
        if not is_good and (complaint := refusal(answer.status_code, answer.headers, answer.content)):
            mood.wrong.append(f"{one.name}: {complaint}")
        await mood.note(one.name, is_good=is_good, seconds=now() - began)
        if not is_good:
            await asyncio.sleep(A_MOMENT)


def refusal(status: int, headers: Any, content: bytes) -> str | None:
    """What is wrong with an answer that is to say: not now."""
    told = json.loads(content) if headers.get("content-type") == MEDIA_TYPE else None
    if status != 503 or told is None or told["status"] != 503:
        return f"{status}: {content[:300]!r}"
    if not headers.get("retry-after", "").isdecimal():
        return f"503 without Retry-After: {content[:300]!r}"
    return None


@dataclass
class Follower:
    """Follows the log, however often it is cut off. `seen`: the cursors of all events, in order."""

    name: str
    mood: Mood
    seen: list[str] = field(default_factory=list)
    last: str = "start"
    cuts: int = 0

    async def heard(self, cursor: str, *, is_event: bool) -> None:
        self.last = cursor
        if is_event:
            self.seen.append(cursor)
            await self.mood.note(self.name, is_good=True)

    async def again(self) -> None:
        self.cuts += 1
        await asyncio.sleep(A_MOMENT)


async def follow_stream(client: httpx2.AsyncClient, one: Follower) -> None:
    """Over server-sent events."""
    while True:
        with suppress(httpx2.RemoteProtocolError, httpx2.ReadError):
            headers = {"Last-Event-ID": one.last}
            async with client.stream("GET", "/v1/events/stream", headers=headers, timeout=60) as answer:
                if answer.status_code != 200:
                    said = await answer.aread()
                    if complaint := refusal(answer.status_code, answer.headers, said):
                        one.mood.wrong.append(f"{one.name}: {complaint}")
                    await one.mood.note(one.name, is_good=False)
                else:
                    async for event, id in _events(answer):
                        await one.heard(id, is_event=event not in {"ready", "heartbeat"})
        await one.again()


async def _events(answer: httpx2.Response) -> AsyncIterator[tuple[str, str]]:
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        else:
            if "id" in fields:
                yield fields["event"], fields["id"]
            fields = {}


async def follow_socket(url: str, key: str, one: Follower) -> None:
    """Over a WebSocket."""
    while True:
        with suppress(ConnectionClosed, InvalidStatus):
            async with connect(f"{url}/v1/events/ws", proxy=None, max_queue=None) as socket:
                await socket.send(json.dumps({"type": "resume", "key": key, "after": one.last}))
                async for text in socket:
                    told = json.loads(text)
                    if told["type"] == "error":
                        if told["status"] != 503:
                            one.mood.wrong.append(f"{one.name}: {told}")
                        await one.mood.note(one.name, is_good=False)
                    elif "cursor" in told:
                        await one.heard(told["cursor"], is_event=told["type"] == "event")
        await one.again()


async def write_on(append: Callable[[], Awaitable[None]], away: tuple[type[Exception], ...]) -> None:
    """Let something happen for ever, as far as the database is there."""
    dice = random.Random(1)
    while True:
        with suppress(*away):
            await append()
        await asyncio.sleep(dice.random() * A_MOMENT)
