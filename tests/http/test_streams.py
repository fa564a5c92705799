"""What streams wait for, and who ends that."""

import asyncio
from datetime import timedelta
from math import inf

import pytest

from postroom.http import streams as module
from postroom.http.streams import Stopping, Streams, TooManyStreams
from postroom.ids import TenantId

ONE = TenantId(1)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TICK", timedelta(milliseconds=5))


async def test_what_takes_too_long_is_cut_off_and_what_does_not_is_left_alone() -> None:
    now = asyncio.get_running_loop().time
    with Streams().entered(ONE) as waits:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                async with waits.until(now() + 0.01):
                    await asyncio.Event().wait()
        async with waits.until(now() + 0.01):
            pass
        await asyncio.sleep(0.03)  # nothing waits any more: nothing is to be cut off


async def test_a_timeout_of_somebody_else_stays_theirs() -> None:
    with Streams().entered(ONE) as waits:
        with pytest.raises(TimeoutError):
            async with waits.until(inf):
                raise TimeoutError
        with pytest.raises(TimeoutError):
            async with waits.until(inf), asyncio.timeout(0):
                await asyncio.Event().wait()


async def test_the_end_cuts_off_whatever_waits_and_whatever_would() -> None:
    streams = Streams()
    with streams.entered(ONE) as waits:
        asyncio.get_running_loop().call_soon(streams.end)
        with pytest.raises(Stopping):
            async with waits.until(inf):
                await asyncio.Event().wait()
        with pytest.raises(Stopping):
            async with waits.until(inf):
                raise AssertionError("it must not begin")
        with pytest.raises(TooManyStreams), streams.entered(ONE):
            pass


async def test_a_cancellation_from_outside_is_one() -> None:
    async def wait() -> None:
        with Streams().entered(ONE) as waits:
            async with waits.until(inf):
                await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_event_sets_no_timer() -> None:
    """Two for each event and stream were a fifth of what it took to tell hundreds."""
    loop = asyncio.get_running_loop()
    streams = Streams()

    def refused(*_args: object, **_more: object) -> asyncio.TimerHandle:
        raise AssertionError("a timer was set")

    with streams.entered(ONE) as waits:
        before, loop.call_at = loop.call_at, refused  # type: ignore[method-assign]
        try:
            for _ in range(10):
                async with waits.until(loop.time() + 10):
                    pass
        finally:
            loop.call_at = before  # type: ignore[method-assign]


async def test_streams_that_are_gone_leave_no_ticking_behind() -> None:
    streams = Streams()
    with streams.entered(ONE):
        assert streams._is_ticking
    await asyncio.sleep(0.03)

    assert not streams._is_ticking


async def test_an_answer_about_a_key_is_as_old_as_its_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECALLED", timedelta(milliseconds=50))
    streams, asked, may_answer = Streams(), list[str](), asyncio.Event()

    async def find(key: str) -> None:
        asked.append(key)
        if key == "slow":
            await may_answer.wait()

    slow = asyncio.create_task(streams.recalled("slow", find))
    await asyncio.sleep(0.06)
    await streams.recalled("quick", find)
    may_answer.set()
    await slow
    await streams.recalled("slow", find)

    assert asked == ["slow", "quick", "slow"]
