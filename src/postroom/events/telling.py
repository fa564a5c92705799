"""What a follower hears, as server-sent events and as the messages of a WebSocket.

First comes `ready`, with the cursor behind which it begins: who is cut off before the first event can resume
from there. Between the events of the log other news may be told that is in no log, has no cursor, and is
missed by who is away.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from postroom.http import sse, ws

from . import feed
from .answers import out
from .follow import Follower, Heard
from .wanted import Types

T = TypeVar("T", str, bytes)

News: TypeAlias = tuple[str, Mapping[str, Any]]
"""Type and data of something that is in no log."""


class Aside(Protocol):
    """Where such news comes from; it wakes the follower beside which it was made."""

    def take(self) -> Sequence[News]: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """How things are told."""

    name: str
    event: Callable[[Heard], T]
    news: Callable[[str, Mapping[str, Any], str | None], T]  # with a cursor, if it has one
    heartbeat: Callable[[str], T]


def _frame(heard: Heard) -> bytes:
    told = out(heard.entry, heard.account)
    return sse.frame(heard.entry.kind, told, told["cursor"])


def _message(heard: Heard) -> str:
    return ws.message("event", out(heard.entry, heard.account))


SSE: Form[bytes] = Form("sse", _frame, sse.frame, sse.heartbeat)
WS: Form[str] = Form(
    "ws", _message, lambda type, data, _: ws.message(type, data), lambda cursor: ws.heartbeat(cursor=cursor)
)


class Told(Generic[T]):
    """Says what a follower hears, and of the news beside it what is of these types.

    `begins` is what is said first, with the `cursor` behind which it begins.
    """

    def __init__(
        self,
        follower: Follower,
        begins: Mapping[str, Any],
        aside: Aside,
        types: Types | None,
        form: Form[T],
    ) -> None:
        self._follower, self._begins, self._aside = follower, begins, aside
        self._types = types
        self._form: Form[T] = form
        self._is_begun = False

    async def next(self) -> Sequence[T] | None:
        follower, form = self._follower, self._form
        if not self._is_begun:
            self._is_begun = True
            return [form.news("ready", self._begins, self._begins["cursor"])]
        while not follower.is_over:
            follower.wake.clear()
            said = [self._written(heard) for heard in await follower.take()]
            said += [form.news(type, data, None) for type, data in self._aside.take() if self._wants(type)]
            if said:
                return said
            await follower.wake.wait()
        return None

    def beat(self) -> T:
        """A heartbeat says how far the log was read, so that who wants little of it resumes from there."""
        last = self._follower.last
        return self._form.heartbeat(self._begins["cursor"] if last is None else feed.cursor_of(last))

    def close(self) -> None:
        self._follower.close()
        self._aside.close()

    def _wants(self, type: str) -> bool:
        return self._types is None or type in self._types

    def _written(self, heard: Heard) -> T:
        name = self._form.name
        if name not in heard.written:
            heard.written[name] = self._form.event(heard)
        written: T = heard.written[name]
        return written
