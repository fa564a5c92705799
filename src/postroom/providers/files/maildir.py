"""Maildir: one file a message, its flags in the file's name (cr.yp.to/proto/maildir.html).

root/{cur,new,tmp}              INBOX
root/.Lists.python/{cur,...}    Maildir++: Lists/python, as written here
root/Lists/python/{cur,...}     the same as Dovecot's LAYOUT=fs has it, read as well
"""

import os
import re
import socket
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

from postroom.providers.files import names

LETTERS = {"\\Draft": "D", "\\Flagged": "F", "\\Answered": "R", "\\Seen": "S", "\\Deleted": "T"}
FLAGS = {letter: flag for flag, letter in LETTERS.items()}
ARRIVED = re.compile(r"\d{1,12}")
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class MaildirFolder:
    """A folder on disk and what people call it."""

    place: Path
    path: str


@dataclass(frozen=True, slots=True)
class MaildirEntry:
    """A message's file. The name may change with its flags; what is before the colon does not."""

    place: Path
    unique: str
    flags: frozenset[str]


def is_maildir(place: Path) -> bool:
    return (place / "cur").is_dir() and (place / "new").is_dir()


def folders(root: Path) -> list[MaildirFolder]:
    """Every Maildir in or below `root`, itself first as INBOX. Symbolic links are not followed."""
    found = [MaildirFolder(root, "INBOX")] if is_maildir(root) else []
    for here, below, _ in os.walk(root):
        below[:] = sorted(name for name in below if name not in {"cur", "new", "tmp"})
        for name in below:
            place = Path(here, name)
            if is_maildir(place) and not place.is_symlink():
                found.append(MaildirFolder(place, _path(place.relative_to(root))))
    return found


def _path(relative: Path) -> str:
    levels: list[str] = []
    for part in relative.parts:
        levels += part[1:].split(".") if part.startswith(".") else [part]
    return "/".join(names.decode(level) for level in levels)


def entries(folder: MaildirFolder) -> list[MaildirEntry]:
    """The folder's messages in the order of their arrival, as far as file names tell it."""
    found: dict[str, MaildirEntry] = {}
    for part in ("new", "cur"):
        with os.scandir(folder.place / part) as scanned:
            for file in scanned:
                if not file.name.startswith(".") and file.is_file(follow_symlinks=False):
                    unique, _, info = file.name.partition(":")
                    found[unique] = MaildirEntry(Path(file.path), unique, _flags(info))
    return sorted(found.values(), key=_arrival)


def _flags(info: str) -> frozenset[str]:
    return frozenset(FLAGS[letter] for letter in info.removeprefix("2,") if letter in FLAGS)


def _arrival(entry: MaildirEntry) -> tuple[int, str]:
    seconds = ARRIVED.match(entry.unique)
    return (int(seconds[0]) if seconds else 0, entry.unique)


def validity(listed: Collection[MaildirEntry]) -> int:
    """A number that stays the same as long as no message comes or goes; flags may change."""
    digest = blake2b(digest_size=4)
    for entry in listed:
        digest.update(os.fsencode(entry.unique) + b"\0")
    return int.from_bytes(digest.digest(), "big") or 1


def opened(folder: MaildirFolder, entry: MaildirEntry) -> BinaryIO | None:
    """The message's file, wherever a change of flags has moved it; None when it is gone."""
    try:
        return entry.place.open("rb")
    except FileNotFoundError:
        moved = next((e for e in entries(folder) if e.unique == entry.unique), None)
    try:
        return moved.place.open("rb") if moved else None
    except FileNotFoundError:
        return None


class MaildirWriter:
    """Writes messages, byte for byte, into a Maildir++ below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._host = re.sub(r"[^A-Za-z0-9.-]", "_", socket.gethostname()) or "localhost"
        self._written = 0
        self._made: set[Path] = set()

    def add_folder(self, path: str, delimiter: str | None) -> Path:
        """The folder's place, made when missing, so that empty folders are kept."""
        place = self._root
        if path.upper() != "INBOX":
            place /= "".join(f".{names.encode(level)}" for level in names.levels(path, delimiter))
        if place not in self._made:
            for part in ("cur", "new", "tmp"):
                (place / part).mkdir(parents=True, exist_ok=True)
            if place != self._root:
                (place / "maildirfolder").touch()
            self._made.add(place)
        return place

    def write(
        self,
        path: str,
        delimiter: str | None,
        content: bytes | BinaryIO,
        *,
        flags: Collection[str] = (),
        received_at: datetime | None = None,
    ) -> None:
        """Add one message. It appears in `cur` whole or not at all."""
        place = self.add_folder(path, delimiter)
        moment = received_at or datetime.now(UTC)
        self._written += 1
        unique = f"{max(int(moment.timestamp()), 0)}.P{os.getpid()}Q{self._written:08}.{self._host}"
        temporary = place / "tmp" / unique
        size = 0
        with temporary.open("xb") as file:
            for chunk in chunks(content):
                size += file.write(chunk)
        seconds = moment.timestamp()
        os.utime(temporary, (seconds, seconds))
        letters = "".join(sorted(LETTERS[flag] for flag in flags if flag in LETTERS))
        temporary.rename(place / "cur" / f"{unique},S={size}:2,{letters}")

    def close(self) -> None:
        """Nothing stays open between messages."""


def chunks(content: bytes | BinaryIO) -> Iterator[bytes]:
    """The content in pieces that memory can hold."""
    if isinstance(content, bytes):
        yield content
        return
    while chunk := content.read(CHUNK):
        yield chunk
