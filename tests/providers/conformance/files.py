"""The subjects that are files: a Maildir and a folder of mboxes. Others change them as mail programs do."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from pathlib import Path

from providers.conformance.subject import Can

from postroom.providers.files import maildir
from postroom.providers.files.maildir import MaildirWriter
from postroom.providers.files.mbox import MboxIndex, MboxWriter
from postroom.providers.files.provider import FilesProvider
from postroom.providers.model import Login, Provider

PROVIDER = FilesProvider()


class MaildirSubject:
    """A Maildir++ below a folder."""

    provider: Provider = PROVIDER
    can: frozenset[Can] = frozenset({Can.FLAG, Can.EMPTY, Can.SIZE})

    def __init__(self, root: Path) -> None:
        self._root, self._writer = root, MaildirWriter(root)
        self._writer.add_folder("INBOX", "/")

    def login(self, **changes: object) -> Login:
        return Login("files", {"path": str(self._root), **changes})

    def unreachable(self) -> Login:
        return self.login(path=str(self._root / "nowhere"))

    async def create(self, path: str) -> None:
        self._writer.add_folder(path, "/")

    async def deliver(
        self, path: str, raw: bytes, *, flags: Collection[str] = (), received: datetime | None = None
    ) -> None:
        self._writer.write(path, "/", raw, flags=flags, received_at=received)

    async def fill(self, path: str, raws: Iterable[bytes]) -> None:
        for raw in raws:
            self._writer.write(path, "/", raw)

    async def flag(self, path: str, raw: bytes, flags: Collection[str]) -> None:
        file = self._file(path, raw)
        letters = "".join(sorted(maildir.LETTERS[flag] for flag in flags))
        file.rename(file.with_name(f"{file.name.partition(':')[0]}:2,{letters}"))

    async def remove(self, path: str, raw: bytes) -> None:
        self._file(path, raw).unlink()

    async def move(self, path: str, raw: bytes, target: str) -> None:
        file = self._file(path, raw)
        file.rename(self._writer.add_folder(target, "/") / "cur" / file.name)

    async def rename(self, path: str, new: str) -> None:
        raise NotImplementedError

    async def drop(self, path: str) -> None:
        place = self._writer.add_folder(path, "/")
        self._writer = MaildirWriter(self._root)
        await asyncio.to_thread(_remove, place)

    async def held(self, path: str) -> Mapping[bytes, frozenset[str]]:
        place = self._writer.add_folder(path, "/")
        entries = maildir.entries(maildir.MaildirFolder(place, path))
        return {entry.place.read_bytes(): entry.flags for entry in entries}

    def _file(self, path: str, raw: bytes) -> Path:
        files = (self._writer.add_folder(path, "/") / "cur").iterdir()
        return next(file for file in files if file.read_bytes() == raw)


class MboxSubject:
    """A folder of mboxrd files, each written anew when something leaves it."""

    provider: Provider = PROVIDER
    can: frozenset[Can] = frozenset({Can.EMPTY})

    def __init__(self, root: Path) -> None:
        self._root = root
        self._write("INBOX", [])

    def login(self, **changes: object) -> Login:
        return Login("files", {"path": str(self._root), **changes})

    def unreachable(self) -> Login:
        return self.login(path=str(self._root / "nowhere"))

    async def create(self, path: str) -> None:
        self._write(path, [])

    async def deliver(
        self, path: str, raw: bytes, *, flags: Collection[str] = (), received: datetime | None = None
    ) -> None:
        assert not flags
        writer = MboxWriter(self._root)
        writer.write(path, "/", raw, received_at=received)
        writer.close()

    async def fill(self, path: str, raws: Iterable[bytes]) -> None:
        self._write(path, raws)

    async def flag(self, path: str, raw: bytes, flags: Collection[str]) -> None:
        raise NotImplementedError

    async def remove(self, path: str, raw: bytes) -> None:
        left = list(await self.held(path))
        left.remove(raw)
        self._place(path).unlink()
        self._write(path, left)

    async def move(self, path: str, raw: bytes, target: str) -> None:
        await self.remove(path, raw)
        self._write(target, [raw])

    async def rename(self, path: str, new: str) -> None:
        raise NotImplementedError

    async def drop(self, path: str) -> None:
        self._place(path).unlink()

    async def held(self, path: str) -> Mapping[bytes, frozenset[str]]:
        index = MboxIndex(self._place(path))
        found = {}
        for number in range(len(index)):
            content = index.read(number).content
            raw = content if isinstance(content, bytes) else content.read()
            if not isinstance(content, bytes):
                content.close()
            found[raw] = frozenset[str]()
        return found

    def _place(self, path: str) -> Path:
        writer = MboxWriter(self._root)
        place = writer.add_folder(path, "/")
        writer.close()
        return place

    def _write(self, path: str, raws: Iterable[bytes]) -> None:
        writer = MboxWriter(self._root)
        writer.add_folder(path, "/")
        for raw in raws:
            writer.write(path, "/", raw)
        writer.close()


def _remove(place: Path) -> None:
    for path in sorted(place.rglob("*"), reverse=True):
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
    place.rmdir()
