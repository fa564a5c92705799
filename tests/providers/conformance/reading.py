"""How a conformance test reads a mailbox through the port: whole answers, checked as they come."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from providers.conformance.subject import Subject

from postroom.providers.model import (
    Mailbox,
    OpenFolder,
    RemoteFolder,
    RemoteItem,
    RemoteMessage,
    Unfetched,
)


@asynccontextmanager
async def opened(subject: Subject, path: str = "INBOX") -> AsyncIterator[OpenFolder]:
    """A folder in a conversation of its own."""
    async with subject.provider.open(subject.login()) as mailbox:
        yield await mailbox.open(await named(mailbox, path))


async def named(mailbox: Mailbox, path: str) -> RemoteFolder:
    """The folder that people call so."""
    found = [folder for folder in await mailbox.folders() if folder.path == path]
    assert len(found) == 1, f"{path!r} is listed {len(found)} times"
    return found[0]


async def everything(folder: OpenFolder) -> list[RemoteItem]:
    return list(await folder.scan(await folder.uids()))


async def fetched(
    folder: OpenFolder, items: Sequence[RemoteItem]
) -> dict[int, tuple[RemoteMessage, bytes] | Unfetched]:
    """The answers by UID; each message with its bytes, each item answered once."""
    answers: dict[int, tuple[RemoteMessage, bytes] | Unfetched] = {}
    async for answer in folder.fetch(items):
        assert answer.uid not in answers, f"{answer.uid} was answered twice"
        answers[answer.uid] = (answer, taken(answer)) if isinstance(answer, RemoteMessage) else answer
    assert answers.keys() == {item.uid for item in items}
    return answers


def taken(message: RemoteMessage) -> bytes:
    """The whole content; a file is closed."""
    if isinstance(message.content, bytes):
        raw = message.content
    else:
        with message.content as file:
            raw = file.read()
    assert message.size == len(raw)
    return raw


async def bytes_by_uid(folder: OpenFolder) -> dict[int, bytes]:
    """All messages of a folder, every one of which must come."""
    answers = await fetched(folder, await everything(folder))
    found = {}
    for uid, answer in answers.items():
        assert not isinstance(answer, Unfetched), f"{uid}: {answer}"
        found[uid] = answer[1]
    return found


async def contents(subject: Subject, path: str) -> list[bytes]:
    """The bytes of all messages of a folder, sorted, in a conversation of their own."""
    async with opened(subject, path) as folder:
        return sorted((await bytes_by_uid(folder)).values())


def simple(number: int, size: int = 0) -> bytes:
    return b"Subject: %d\r\n\r\n%s\r\n" % (number, b"x" * size)


def simples(count: int) -> Iterable[bytes]:
    return [simple(number) for number in range(count)]
