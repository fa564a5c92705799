"""An async context held open in a thread of its own, for callers that are not async."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

import uvloop

T = TypeVar("T")
R = TypeVar("R")


class Hosted(Generic[T]):
    """Opens at once, stays open until `close` or until what is open fails, and does not survive a fork."""

    def __init__(self, opening: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        self._opening = opening
        self._opened: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, T]] = Future()
        threads = ThreadPoolExecutor(1, thread_name_prefix="postroom")
        self._ended: Future[None] = threads.submit(self._live)
        threads.shutdown(wait=False)

    @property
    def is_open(self) -> bool:
        """False once it has failed; who wants it then makes a new one."""
        return not self._ended.done()

    def run(self, work: Callable[[T], Coroutine[Any, Any, R]]) -> R:
        """Do `work` with what is open; blocks. Raises what opening raised, and what `work` raises."""
        loop, _, value = self._wait()
        return asyncio.run_coroutine_threadsafe(work(value), loop).result()

    def close(self) -> None:
        """Leave the context and wait until it is left. What runs in it is cancelled by its end."""
        self._wait_for_either()
        if self._opened.done() and self.is_open:
            loop, stop, _ = self._opened.result()
            loop.call_soon_threadsafe(stop.set)
        wait([self._ended])

    def _wait_for_either(self) -> None:
        either: list[Future[Any]] = [self._opened, self._ended]
        wait(either, return_when=FIRST_COMPLETED)

    def _wait(self) -> tuple[asyncio.AbstractEventLoop, asyncio.Event, T]:
        self._wait_for_either()
        if self._ended.done():
            self._ended.result()
            raise RuntimeError("it is closed")
        return self._opened.result()

    def _live(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._hold())

    async def _hold(self) -> None:
        stop = asyncio.Event()
        async with self._opening() as value:
            self._opened.set_result((asyncio.get_running_loop(), stop, value))
            await stop.wait()
