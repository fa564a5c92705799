"""What a client says to the API: asks, asks again, reads on, follows, downloads. Once for both clients.

429                                         waits as long as the server says, and asks again
503 that says for how long, not for a POST  likewise
no connection                               waits ever longer, with jitter, and asks again
an answer that breaks off, of a GET         likewise; a download goes on where it was, as does a stream
"""

import random
import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from itertools import count
from typing import Any, TypeVar
from urllib.parse import unquote

import httpx2

from . import errors
from .call import Call, Following, Paged, Part
from .model import Content
from .reading import read
from .wire import Wire

SHORTEST, LONGEST = 0.5, 30.0
"""Seconds between two attempts where the server says nothing of it."""
SILENT = httpx2.Timeout(10, read=45)
"""Of a stream: a heartbeat comes every 15 seconds."""
ENDED = ".end"
"""How the id of a stream's last event ends, where there is a last one."""
KEY = re.compile(r"[\x21-\x7e]+")
PATH = re.compile(r"(?:/(?!\.+(?:/|\Z))[\w.-]+)+", re.ASCII)
NEVER_ARRIVED = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)

PageT = TypeVar("PageT")
ItemT = TypeVar("ItemT")
T = TypeVar("T")


class Conversation:
    """With one server. `build` makes a request; see `Client` for the rest."""

    def __init__(
        self,
        wire: Wire,
        build: Callable[..., httpx2.Request],
        key: str | Callable[[], str] | None,
        *,
        retries: int,
        patience: float,
        remember: int,
    ) -> None:
        self._wire, self._build, self._key = wire, build, key
        self._retries, self._patience, self._remember = retries, patience, remember
        self._known: OrderedDict[tuple[str, str], tuple[str, Any]] = OrderedDict()

    async def ask(self, call: Call[T]) -> T:
        about = call.path, str(sorted(call.query.items()))
        known = self._known.pop(about, None) if call.method == "GET" else None
        response = await self._asked(call, {"If-None-Match": known[0]} if known else {})
        is_known = known is not None and response.status_code == 304
        answer: T = known[1] if known is not None and is_known else _answer(call, response)
        if self._remember and call.method == "GET" and "ETag" in response.headers:
            self._known[about] = response.headers["ETag"], answer
            while len(self._known) > self._remember:
                self._known.popitem(last=False)
        return answer

    async def pages(self, call: Paged[PageT, ItemT]) -> AsyncGenerator[PageT]:
        while True:
            page: Any = await self.ask(call)
            yield page
            if page.next is None:
                return
            onward = {name: value for name, value in call.query.items() if name != "page"}
            call = replace(call, query={**onward, "cursor": page.next})

    async def each(self, call: Paged[PageT, ItemT]) -> AsyncGenerator[ItemT]:
        async with aclosing(self.pages(call)) as pages:
            async for page in pages:
                found: Any = page
                for item in found.items:
                    yield item

    async def download(self, call: Part) -> Content:
        response = await self._asked(call, _range(call, call.first))
        first, size = 0, len(response.content)
        if response.status_code == 206:
            first, size = _placed(response)
        return Content(
            response.content,
            response.headers.get("Content-Type", ""),
            _name(response),
            response.headers.get("ETag"),
            first,
            size,
        )

    async def pieces(self, call: Part) -> AsyncGenerator[bytes]:
        """Raises `BadAnswer` if it is another thing by the time that it goes on."""
        at, etag, failures = call.first, None, 0
        while True:
            is_resumed = at > call.first
            asked = _range(call, at) | ({"If-Range": etag} if is_resumed and etag else {})
            response = await self._sent(call, asked)
            try:
                if is_resumed and response.status_code != 206:
                    raise errors.BadAnswer("It has changed while it was downloaded.")
                etag = response.headers.get("ETag")
                async with aclosing(self._wire.pieces(response)) as pieces:
                    async for piece in pieces:
                        at, failures = at + len(piece), 0
                        yield piece
                return
            except httpx2.TransportError as error:
                failures += 1
                if failures > self._retries or not call.has_ranges:
                    raise errors.NotReached(f"The download broke off: {error}.") from error
            finally:
                await self._wire.close(response)
            await self._wire.wait(pause(failures))

    async def follow(self, call: Following[T]) -> AsyncGenerator[T]:
        """Raises what the server says to the first request; later only what coming again would not mend."""
        last, failures, has_begun = call.after, 0, False
        while True:
            headers = {} if last is None else {"Last-Event-ID": last}
            try:
                response = await self._sent(call, headers, timeout=SILENT)
            except (errors.NotReached, errors.TryLater, errors.Broken):
                if not has_begun:
                    raise
            else:
                has_begun = True
                async with aclosing(self._heard(response)) as heard:
                    async for event in heard:
                        last, failures = event.id or last, 0
                        kind = call.kinds.get(event.event, call.otherwise)
                        if kind is not None:
                            yield read(kind, event.json())
                if response.status_code == 204 or (last or "").endswith(ENDED):
                    return
            failures += 1
            await self._wire.wait(pause(failures))

    async def _heard(self, response: httpx2.Response) -> AsyncGenerator[httpx2.ServerSentEvent]:
        """What one connection tells until it ends, however it does."""
        try:
            if response.status_code != 204:
                async with aclosing(self._wire.events(response)) as events:
                    async for event in events:
                        yield event
        except httpx2.SSEError as error:
            raise errors.BadAnswer(f"This is no stream of events: {error}.") from error
        except httpx2.TransportError:
            pass  # come again with the last id
        finally:
            await self._wire.close(response)

    async def _asked(self, call: Call[Any], headers: Mapping[str, str]) -> httpx2.Response:
        """A whole answer."""
        for failures in count(1):
            response = await self._sent(call, headers)
            try:
                await self._wire.read(response)
                return response
            except httpx2.TransportError as error:
                if call.method != "GET" or failures > self._retries:
                    raise errors.NotReached(f"The answer broke off: {error}.") from error
            finally:
                await self._wire.close(response)
            await self._wire.wait(pause(failures))
        raise AssertionError

    async def _sent(self, call: Call[Any], headers: Mapping[str, str], **more: Any) -> httpx2.Response:
        """The beginning of an answer that is no problem."""
        for failures in count(1):
            request = self._request(call, headers, **more)
            try:
                response = await self._wire.send(request)
                if response.status_code < 300 or response.status_code == 304:
                    return response
                failure: errors.Failure = await self._failure(response)
                may_repeat = isinstance(failure, errors.TryLater) and (
                    failure.status == 429 or call.method != "POST"
                )
                wait = failure.wait.total_seconds() if isinstance(failure, errors.TryLater) else 0
            except httpx2.TransportError as error:
                failure = errors.NotReached(f"{request.url.host} does not answer: {error}.")
                may_repeat = call.method == "GET" or isinstance(error, NEVER_ARRIVED)
                wait = pause(failures)
            if not may_repeat or failures > self._retries or wait > self._patience:
                raise failure
            await self._wire.wait(wait)
        raise AssertionError

    def _request(self, call: Call[Any], headers: Mapping[str, str], **more: Any) -> httpx2.Request:
        """Raises `ValueError` for what can be none: a key, or an id in the path."""
        key = self._key() if callable(self._key) else self._key
        shown = {} if key is None else {"Authorization": f"Bearer {_checked(key)}"}
        if PATH.fullmatch(call.path) is None:
            raise ValueError(f"{call.path!r} would lead elsewhere: what stands in a path is an id.")
        return self._build(
            call.method,
            call.path,
            params=call.query or None,
            json=call.body,
            headers={**call.headers, **headers, **shown},
            **more,
        )

    async def _failure(self, response: httpx2.Response) -> errors.Failure:
        try:
            await self._wire.read(response)
        finally:
            await self._wire.close(response)
        try:
            told = response.json()
        except ValueError:
            told = None
        if not isinstance(told, dict) or "code" not in told:
            status = response.status_code
            return errors.BadAnswer(f"{response.url} answers {status}, and not as postroom does.")
        return errors.problem(response.status_code, told, response.headers.get("Retry-After"))


def pause(failures: int) -> float:
    """Seconds to wait after so many failures in a row."""
    return min(SHORTEST * 2.0 ** (failures - 1), LONGEST) * random.uniform(0.5, 1)


def _checked(key: str) -> str:
    """A key as it was read from a file; nothing of it is in an error."""
    if KEY.fullmatch(key.strip()) is None:
        raise ValueError("The key is none: it is empty, or has spaces or signs that no key has.")
    return key.strip()


def _answer(call: Call[Any], response: httpx2.Response) -> Any:
    if response.status_code == 204 or call.answer is None:
        return None
    if call.answer is str:
        return response.text
    try:
        told = response.json()
    except ValueError as error:
        raise errors.BadAnswer(f"{response.url} answers something that is not JSON.") from error
    return read(call.answer, told)


def _range(call: Part, first: int) -> dict[str, str]:
    if first == 0 and call.past is None:
        return {}
    last = "" if call.past is None else call.past - 1
    return {"Range": f"bytes={first}-{last}"}


def _placed(response: httpx2.Response) -> tuple[int, int]:
    """The first byte, and the size of the whole."""
    told = response.headers.get("Content-Range", "").removeprefix("bytes ")
    part, _, size = told.partition("/")
    try:
        return int(part.partition("-")[0]), int(size)
    except ValueError as error:
        raise errors.BadAnswer(f"Content-Range is {told!r}.") from error


def _name(response: httpx2.Response) -> str | None:
    """RFC 6266; the server always says it as `filename*`, in UTF-8."""
    _, found, name = response.headers.get("Content-Disposition", "").partition("filename*=UTF-8''")
    return unquote(name) if found else None
