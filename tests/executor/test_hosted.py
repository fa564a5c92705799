"""A context in a thread opens once, works for callers that are not async, and fails where they can see it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import get_ident

import pytest

from postroom.executor.hosted import Hosted


class House:
    """What is opened by the tests; `left` says whether its context was left."""

    def __init__(self) -> None:
        self.left = False

    @asynccontextmanager
    async def opening(self) -> AsyncIterator["House"]:
        try:
            yield self
        finally:
            self.left = True

    async def thread(self) -> int:
        await asyncio.sleep(0)
        return get_ident()


def test_work_is_done_in_the_thread_of_its_context_which_is_left_at_the_end() -> None:
    house = House()
    hosted = Hosted(house.opening)

    assert hosted.run(House.thread) == hosted.run(House.thread) != get_ident()
    assert hosted.is_open
    hosted.close()
    assert house.left
    assert not hosted.is_open


def test_what_work_raises_reaches_its_caller_and_nobody_else() -> None:
    async def fail(_house: House) -> None:
        raise LookupError("no such thing")

    hosted = Hosted(House().opening)
    with pytest.raises(LookupError):
        hosted.run(fail)
    assert hosted.is_open
    hosted.close()


def test_what_cannot_be_opened_says_so_to_each_caller() -> None:
    @asynccontextmanager
    async def opening() -> AsyncIterator[House]:
        raise ConnectionError("it is away")
        yield House()

    hosted = Hosted(opening)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            hosted.run(House.thread)
    assert not hosted.is_open
    hosted.close()


def test_what_is_closed_does_no_more_work() -> None:
    hosted = Hosted(House().opening)
    hosted.close()

    with pytest.raises(RuntimeError, match="closed"):
        hosted.run(House.thread)
