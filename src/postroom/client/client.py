"""The two clients: one whose methods wait, one whose methods are awaited."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any, Self, TypeVar

import httpx2

from postroom import __version__

from .call import Blocking, Waiting
from .conversation import Conversation
from .operations import Operations
from .wire import BlockingWire, WaitingWire, each, run

HERE = "http://127.0.0.1:8025"
TIMES = httpx2.Timeout(10, read=100)
"""Seconds; the server answers within 30, or 90 where it changes something, or says that it does not."""
AGENT = {"User-Agent": f"postroom-client/{__version__}"}

T = TypeVar("T")


class Client(Operations, Blocking):
    """Asks and waits.

    `key` is an API key or a token, or what gives one for each request: tokens live for a minute. A request
    that the server is not ready for is repeated up to `retries` times, unless it asks for a wait of more than
    `patience` seconds. With `remember`, so many answers are kept, and not sent again while they are
    unchanged. `http` is a client of httpx2 to be used instead of one of our own; it is not closed. Raises
    `ValueError` for a `url` that is none, and each call does for a key that cannot be one.
    """

    def __init__(
        self,
        url: str = HERE,
        key: str | Callable[[], str] | None = None,
        *,
        retries: int = 3,
        patience: float = 60,
        remember: int = 0,
        http: httpx2.Client | None = None,
    ) -> None:
        self._own = httpx2.Client(base_url=_base(url), timeout=TIMES, headers=AGENT) if http is None else None
        used = http or self._own
        assert used is not None
        self.conversation = Conversation(
            BlockingWire(used), used.build_request, key, retries=retries, patience=patience, remember=remember
        )

    def carry_out(self, work: Coroutine[Any, Any, T]) -> T:
        return run(work)

    def iterate(self, work: AsyncGenerator[T]) -> Generator[T, None, None]:
        return each(work)

    def close(self) -> None:
        if self._own is not None:
            self._own.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient(Operations, Waiting):
    """The same for asyncio: what `Client` says of itself holds here, and every method is awaited."""

    def __init__(
        self,
        url: str = HERE,
        key: str | Callable[[], str] | None = None,
        *,
        retries: int = 3,
        patience: float = 60,
        remember: int = 0,
        http: httpx2.AsyncClient | None = None,
    ) -> None:
        self._own = (
            httpx2.AsyncClient(base_url=_base(url), timeout=TIMES, headers=AGENT) if http is None else None
        )
        used = http or self._own
        assert used is not None
        self.conversation = Conversation(
            WaitingWire(used), used.build_request, key, retries=retries, patience=patience, remember=remember
        )

    def carry_out(self, work: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        return work

    def iterate(self, work: AsyncGenerator[T]) -> AsyncGenerator[T]:
        return work

    async def close(self) -> None:
        if self._own is not None:
            await self._own.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _base(url: str) -> str:
    """With or without `/v1`, which is how the server tells where its API is."""
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r} is no URL of a server: it begins with http:// or https://.")
    return url.rstrip("/").removesuffix("/v1")
