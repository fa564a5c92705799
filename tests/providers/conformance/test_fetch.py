"""What every provider promises of messages: each comes once, whole, to the byte, and stays unread."""

import asyncio
import os
import random
from collections.abc import Callable
from contextlib import aclosing, suppress

import pytest
from providers.conformance.reading import (
    bytes_by_uid,
    contents,
    everything,
    fetched,
    opened,
    simple,
    simples,
    taken,
)
from providers.conformance.subject import Can, Subject

from postroom.errors import PostroomError
from postroom.providers.model import RemoteMessage, Unfetched

EIGHT_BIT = bytes(byte for byte in range(1, 256) if byte not in b"\r\n")
SHAPES = {
    "eight bits": b"Subject: Gr\xf6\xdfe \xe8\xaf\xb7\r\n\r\n" + EIGHT_BIT + b"\r\n",
    "no body": b"Subject: no body\r\n\r\n",
    "no header": b"\r\nthe body is all\r\n",
    "no blank line": b"Subject: only a header\r\n",
    "one byte": b"x",
    "no final newline": b"Subject: cut\r\n\r\nthe end is miss",
    "lines that look like others": b"X: x\r\n\r\n.\r\nFrom here\r\n>From\r\n)\r\nA1 OK\r\n{5}\r\n* BYE\r\n",
    "a long line": b"Subject: long\r\n\r\n" + b"y" * 200_000 + b"\r\n",
    "blank lines at the end": b"Subject: blank\r\n\r\nx\r\n\r\n\r\n\r\n",
    "only newlines": b"\r\n\r\n\r\n",
}
LARGE = b"Subject: large\r\n\r\n" + b"z" * 76 + b"\r\n" + (b"0123456789" * 7 + b"\r\n") * 90_000  # 6.5 MB


@pytest.mark.parametrize("shape", SHAPES)
async def test_bytes_arrive_as_they_are(subject: Subject, shape: str) -> None:
    await subject.deliver("INBOX", SHAPES[shape])

    assert await contents(subject, "INBOX") == [SHAPES[shape]]


async def test_large_and_small_messages_arrive_together(subject: Subject) -> None:
    raws = [simple(1), LARGE, simple(2), simple(3, 300_000), simple(4)]
    await subject.fill("INBOX", raws)

    assert await contents(subject, "INBOX") == sorted(raws)


async def test_a_message_without_a_byte_is_a_message(subject: Subject, needs: Callable[..., None]) -> None:
    needs(Can.EMPTY)
    await subject.deliver("INBOX", simple(1))
    await subject.deliver("INBOX", b"")
    await subject.deliver("INBOX", simple(2))

    assert await contents(subject, "INBOX") == sorted([b"", simple(1), simple(2)])


async def test_each_item_asked_for_is_answered_once_in_any_order(subject: Subject) -> None:
    await subject.fill("INBOX", simples(150))

    async with opened(subject) as folder:
        items = await everything(folder)
        chosen = random.Random(1).sample(items, 70)
        answers = await fetched(folder, chosen)
        again = await fetched(folder, list(reversed(items)))

    assert all(again[uid] == answer for uid, answer in answers.items())
    assert len(again) == 150


async def test_equal_messages_are_as_many_as_they_are(subject: Subject) -> None:
    await subject.fill("INBOX", [simple(1), simple(2), simple(1), simple(1)])

    assert await contents(subject, "INBOX") == sorted([simple(1)] * 3 + [simple(2)])


async def test_reading_marks_nothing_as_read(subject: Subject, needs: Callable[..., None]) -> None:
    needs(Can.FLAG)
    await subject.deliver("INBOX", simple(1))
    await subject.deliver("INBOX", simple(2), flags=["\\Flagged"])
    held = await subject.held("INBOX")

    for _ in range(2):
        assert await contents(subject, "INBOX") == sorted(held)

    assert (
        await subject.held("INBOX") == held == {simple(1): frozenset(), simple(2): frozenset({"\\Flagged"})}
    )


async def test_a_message_that_went_before_it_was_fetched_is_gone_and_the_rest_comes(
    subject: Subject, needs: Callable[..., None]
) -> None:
    needs(Can.NOTICE)
    await subject.fill("INBOX", simples(5))

    async with opened(subject) as folder:
        items = await everything(folder)
        await subject.remove("INBOX", simple(2))
        answers = await fetched(folder, items)
        rescanned = await folder.scan([item.uid for item in items])

    gone = items[2].uid
    assert answers.pop(gone) == Unfetched(gone, None)
    assert {answer[1] for answer in answers.values() if isinstance(answer, tuple)} == {
        simple(n) for n in (0, 1, 3, 4)
    }
    assert [item.uid for item in rescanned] == [item.uid for item in items if item.uid != gone]


async def test_what_changed_since_the_scan_never_comes_as_another_message(subject: Subject) -> None:
    await subject.fill("INBOX", simples(6))

    async with opened(subject) as folder:
        items = await everything(folder)
        before = [simple(n) for n in range(6)]
        await subject.remove("INBOX", simple(1))
        await subject.deliver("INBOX", simple(9, 50))
        try:
            async for answer in folder.fetch(items):
                if isinstance(answer, RemoteMessage):
                    assert taken(answer) == before[[item.uid for item in items].index(answer.uid)]
        except PostroomError:
            return  # it noticed


async def test_what_is_left_in_mid_fetch_leaves_nothing_behind(subject: Subject) -> None:
    await subject.fill("INBOX", [simple(n, 50_000) for n in range(60)])
    before = open_files()

    for stop_after in (0, 1, 20):
        async with opened(subject) as folder:
            items = await everything(folder)
            async with aclosing(folder.fetch(items)) as answers:  # type: ignore[type-var]
                for _ in range(stop_after):
                    answer = await anext(answers)
                    assert isinstance(answer, RemoteMessage)
                    taken(answer)
            with suppress(PostroomError):
                assert len(await folder.uids()) == 60

    await closed(before)
    assert len(await contents(subject, "INBOX")) == 60


async def test_a_fetch_that_is_cancelled_leaves_nothing_behind(subject: Subject) -> None:
    await subject.fill("INBOX", [simple(n, 50_000) for n in range(60)])
    before = open_files()

    for patience in range(0, 60, 7):
        task = asyncio.create_task(read_all(subject))
        for _ in range(patience):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    await closed(before)
    assert len(await contents(subject, "INBOX")) == 60


async def test_two_conversations_read_the_same_mailbox_at_once(subject: Subject) -> None:
    await subject.fill("INBOX", simples(80))

    one, two = await asyncio.gather(read_all(subject), read_all(subject))

    assert one == two
    assert len(one) == 80


async def read_all(subject: Subject) -> dict[int, bytes]:
    async with opened(subject) as folder:
        return await bytes_by_uid(folder)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def closed(before: int) -> None:
    """Return once no more files are open than before; a lab server's end closes when the loop comes to it."""
    async with asyncio.timeout(10):
        while open_files() > before:  # noqa: ASYNC110  nobody tells of it
            await asyncio.sleep(0)
