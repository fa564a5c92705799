"""A Maildir or mbox on this machine as a `Provider`: what `import` reads.

UIDs are the places of messages in the order of their arrival. They hold as long as no message comes or goes;
then the validity changes, and what is known is found again by its content.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path

from postroom.errors import Invalid
from postroom.providers.files import maildir, mbox
from postroom.providers.files.maildir import MaildirEntry, MaildirFolder
from postroom.providers.files.mbox import LARGE, MboxFolder, MboxIndex
from postroom.providers.model import (
    Changes,
    Estimate,
    FolderGone,
    FolderRole,
    FolderStatus,
    Login,
    Mailbox,
    Notice,
    RemoteFolder,
    RemoteItem,
    RemoteMessage,
    Unfetched,
)

TOGETHER = 20  # messages read in one visit to a thread, each at most `LARGE` in memory


class NotMail(Invalid):
    """What was named is neither a Maildir nor an mbox."""

    code = "providers.not_mail"


class FilesProvider:
    """Mail in files. `settings` holds the `path`; no secret is needed."""

    kind = "files"

    @asynccontextmanager
    async def open(self, login: Login) -> AsyncIterator["FilesMailbox"]:
        """Raises `NotMail`."""
        path = Path(str(login.settings["path"]))
        try:
            found = await asyncio.to_thread(_look, path)
        except OSError as error:
            raise NotMail(f"{path} cannot be read: {error.strerror}.") from error
        if not found:
            raise NotMail(f"There is neither a Maildir nor an mbox at {path}.")
        yield FilesMailbox(found)

    async def estimate(self, mailbox: Mailbox, folders: Sequence[RemoteFolder]) -> Estimate:
        assert isinstance(mailbox, FilesMailbox)  # as `open` gives it
        messages = size = 0
        for folder in folders:
            opened = await mailbox.open(folder)
            messages += opened.status.messages or 0
            size += await asyncio.to_thread(opened.total)
        return Estimate(folders=len(folders), messages=messages, bytes=size)


def _look(path: Path) -> list[MaildirFolder | MboxFolder]:
    if path.is_file():
        return [*mbox.folders(path)] if mbox.is_mbox(path) else []
    path.stat()
    return [*maildir.folders(path)] or [*mbox.folders(path)]


class FilesMailbox:
    """A `Mailbox` of files."""

    def __init__(self, found: Iterable[MaildirFolder | MboxFolder]) -> None:
        self._places = {_remote(folder).name: folder for folder in found}

    @property
    def speed(self) -> None:
        """Files come over no link."""
        return None

    async def folders(self) -> Sequence[RemoteFolder]:
        return [_remote(folder) for folder in self._places.values()]

    async def open(self, folder: RemoteFolder) -> "MaildirOpen | MboxOpen":
        place = self._places.get(folder.name)
        try:
            match place:
                case MaildirFolder():
                    return await asyncio.to_thread(MaildirOpen, folder, place)
                case MboxFolder():
                    return await asyncio.to_thread(MboxOpen, folder, place)
                case None:
                    raise FolderGone(f"There is no folder {folder.path}.")
        except OSError as error:
            raise FolderGone(f"The folder {folder.path} cannot be read: {error.strerror}.") from error

    async def watch(self, folders: Sequence[RemoteFolder], told: Callable[[Notice], None]) -> None:
        """Files do not tell."""

    async def ping(self) -> None: ...

    async def rest(self) -> bool:
        return False  # what lies where is found out when it is opened


def _remote(folder: MaildirFolder | MboxFolder) -> RemoteFolder:
    role = FolderRole.INBOX if folder.path.upper() == "INBOX" else None
    return RemoteFolder(str(folder.place).encode("utf-8", "surrogateescape"), folder.path, "/", role)


class _Numbered:
    """What both kinds of folder share: UIDs are 1 to the number of messages, changes cannot be told."""

    def __init__(self, folder: RemoteFolder, count: int, validity: int) -> None:
        self.folder = folder
        self.status = FolderStatus(messages=count, validity=validity, uid_next=count + 1)
        self.shown_from = 1

    async def uids(self) -> Sequence[int]:
        return range(1, (self.status.messages or 0) + 1)

    async def received_since(self, day: date) -> Collection[int]:
        items = await self.scan(await self.uids())
        return [item.uid for item in items if item.received_at is None or item.received_at.date() >= day]

    async def changes(self, since: FolderStatus, first: int, last: int) -> Changes | None:
        del since, first, last
        return None

    async def scan(self, uids: Sequence[int]) -> Sequence[RemoteItem]:
        known = [uid for uid in uids if 0 < uid <= (self.status.messages or 0)]
        with self._there():
            found = await asyncio.to_thread(lambda: [self._describe(uid) for uid in known])
        return [item for item in found if item is not None]

    async def fetch(self, items: Sequence[RemoteItem]) -> AsyncIterator[RemoteMessage | Unfetched]:
        waiting = iter(items)
        while batch := list(islice(waiting, TOGETHER)):
            with self._there():
                messages = await asyncio.to_thread(self._read_all, batch)
            for message in messages:
                yield message

    @contextmanager
    def _there(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise FolderGone(f"The folder {self.folder.path} cannot be read: {error.strerror}.") from error

    def _read_all(self, items: Iterable[RemoteItem]) -> list[RemoteMessage | Unfetched]:
        return [self._read(item) for item in items]

    def _describe(self, uid: int) -> RemoteItem | None:
        raise NotImplementedError

    def _read(self, item: RemoteItem) -> RemoteMessage | Unfetched:
        raise NotImplementedError


class MaildirOpen(_Numbered):
    """A Maildir folder as an `OpenFolder`."""

    def __init__(self, folder: RemoteFolder, place: MaildirFolder) -> None:
        self._place = place
        self._entries = maildir.entries(place)
        super().__init__(folder, len(self._entries), maildir.validity(self._entries))

    def total(self) -> int:
        """The bytes of all messages."""
        return sum(item.size or 0 for n in range(len(self._entries)) if (item := self._describe(n + 1)))

    def _describe(self, uid: int) -> RemoteItem | None:
        entry = self._entries[uid - 1]
        try:
            stat = entry.place.stat()
        except FileNotFoundError:
            return None
        received = datetime.fromtimestamp(stat.st_mtime, UTC)
        return RemoteItem(uid, entry.flags, stat.st_size, received)

    def _read(self, item: RemoteItem) -> RemoteMessage | Unfetched:
        entry: MaildirEntry = self._entries[item.uid - 1]
        file = maildir.opened(self._place, entry)
        if file is None:
            return Unfetched(item.uid, None)
        size = file.seek(0, 2)
        file.seek(0)
        message = RemoteMessage(item.uid, file, size, item.flags, item.received_at)
        if size > LARGE:
            return message
        with file:
            return replace(message, content=file.read())


class MboxOpen(_Numbered):
    """An mbox file as an `OpenFolder`."""

    def __init__(self, folder: RemoteFolder, place: MboxFolder) -> None:
        self._index = MboxIndex(place.place)
        super().__init__(folder, len(self._index), self._index.validity)

    def total(self) -> int:
        """About the bytes of all messages."""
        return sum(self._index.size(n) for n in range(len(self._index)))

    def _describe(self, uid: int) -> RemoteItem | None:
        message = self._index.describe(uid - 1)
        return RemoteItem(uid, message.flags, self._index.size(uid - 1), message.received_at)

    def _read(self, item: RemoteItem) -> RemoteMessage | Unfetched:
        message = self._index.read(item.uid - 1)
        content = message.content
        size = len(content) if isinstance(content, bytes) else os.fstat(content.fileno()).st_size
        return RemoteMessage(item.uid, message.content, size, message.flags, message.received_at)
