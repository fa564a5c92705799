"""The mailbox as other clients change it: a lab server's from within, Dovecot's over a second connection.

Messages are named by their place in the order of UIDs, which moves and validities leave as it is.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol, TypeAlias

from servers.dovecot import Dovecot
from servers.mailbox import OtherClient, other_client

from postroom.lab.names import decode_name, encode_name
from postroom.lab.server import LabServer

Seen: TypeAlias = Mapping[int, tuple[frozenset[str], bytes]]
"""What a folder holds: UID -> flags and bytes."""


class Side(Protocol):
    """Somebody else who has this mailbox open, and how to reach it."""

    host: str
    port: int
    user: str
    password: str

    async def names(self) -> list[str]: ...
    async def seen(self, name: str) -> Seen: ...
    async def deliver(self, name: str, raw: bytes, flags: frozenset[str]) -> None: ...
    async def flag(self, name: str, index: int, flags: frozenset[str]) -> None: ...
    async def copy(self, name: str, index: int, target: str) -> None: ...
    async def move(self, name: str, index: int, target: str) -> None: ...
    async def expunge(self, name: str, index: int) -> None: ...
    async def create(self, name: str) -> None: ...
    async def delete(self, name: str) -> None: ...
    async def rename(self, name: str, new: str) -> None: ...
    async def renumber(self, name: str) -> None: ...


class LabSide:
    """Changes happen between two steps of the server, so that a session sees each whole."""

    def __init__(self, server: LabServer) -> None:
        self.server, self._mailbox = server, server.mailbox
        self.host, self.port = server.host, server.port
        self.user, self.password = server.address, server.password
        self._validity = 2_000_000_000  # no folder has had it

    async def names(self) -> list[str]:
        return [folder.name for folder in self._mailbox.folders.values() if folder.selectable]

    async def seen(self, name: str) -> Seen:
        return {uid: (m.flags, m.raw()) for uid, m in self._mailbox.folder(name).messages.items()}

    async def deliver(self, name: str, raw: bytes, flags: frozenset[str]) -> None:
        self._mailbox.folder(name).deliver(raw, flags=flags)

    async def flag(self, name: str, index: int, flags: frozenset[str]) -> None:
        self._mailbox.folder(name).flag(self._uid(name, index), flags)

    async def copy(self, name: str, index: int, target: str) -> None:
        self._mailbox.copy(name, self._uid(name, index), target)

    async def move(self, name: str, index: int, target: str) -> None:
        self._mailbox.move(name, self._uid(name, index), target)

    async def expunge(self, name: str, index: int) -> None:
        self._mailbox.folder(name).expunge(self._uid(name, index))

    async def create(self, name: str) -> None:
        self._mailbox.create(name)

    async def delete(self, name: str) -> None:
        self._mailbox.delete(name)

    async def rename(self, name: str, new: str) -> None:
        self._mailbox.rename(name, new)

    async def renumber(self, name: str) -> None:
        self._validity += 1
        self._mailbox.folder(name).change_validity(self._validity)

    def _uid(self, name: str, index: int) -> int:
        return list(self._mailbox.folder(name).messages)[index]


class DovecotSide:
    """One change at a time, by the standard library's client."""

    def __init__(self, server: Dovecot, user: str, client: OtherClient) -> None:
        self._server, self._client = server, client
        self.host, self.port, self.user, self.password = server.host, server.port, user, server.password
        self._validity = 2_000_000_000
        self._turn = asyncio.Lock()

    async def names(self) -> list[str]:
        async with self._turn:
            return [decode_name(name) for name in await asyncio.to_thread(self._client.folders)]

    async def seen(self, name: str) -> Seen:
        async with self._turn:
            return await asyncio.to_thread(self._client.messages, encode_name(name))

    async def deliver(self, name: str, raw: bytes, flags: frozenset[str]) -> None:
        async with self._turn:
            await asyncio.to_thread(self._client.append, encode_name(name), raw, " ".join(sorted(flags)))

    async def flag(self, name: str, index: int, flags: frozenset[str]) -> None:
        async with self._turn:
            uid = await self._uid(name, index)
            await asyncio.to_thread(
                self._client.flag, encode_name(name), [uid], "FLAGS", " ".join(sorted(flags))
            )

    async def copy(self, name: str, index: int, target: str) -> None:
        async with self._turn:
            uid = await self._uid(name, index)
            await asyncio.to_thread(self._client.copy, encode_name(name), [uid], encode_name(target))

    async def move(self, name: str, index: int, target: str) -> None:
        async with self._turn:
            uid = await self._uid(name, index)
            await asyncio.to_thread(self._client.move, encode_name(name), [uid], encode_name(target))

    async def expunge(self, name: str, index: int) -> None:
        async with self._turn:
            uid = await self._uid(name, index)
            await asyncio.to_thread(self._client.expunge, encode_name(name), [uid])

    async def create(self, name: str) -> None:
        async with self._turn:
            await asyncio.to_thread(self._client.create, encode_name(name))

    async def delete(self, name: str) -> None:
        async with self._turn:
            await asyncio.to_thread(self._client.leave)  # or Dovecot ends the conversation
            await asyncio.to_thread(self._client.delete, encode_name(name))

    async def rename(self, name: str, new: str) -> None:
        async with self._turn:
            await asyncio.to_thread(self._client.leave)
            await asyncio.to_thread(self._client.rename, encode_name(name), encode_name(new))

    async def renumber(self, name: str) -> None:
        """As `doveadm` does it: the UIDs stay, and mean nothing any more."""
        async with self._turn:
            await asyncio.to_thread(self._client.leave)
            self._validity += 1
            arguments = ("-u", self.user, "--uid-validity", str(self._validity), name)
            await asyncio.to_thread(self._server.doveadm, "mailbox", "update", *arguments)

    async def _uid(self, name: str, index: int) -> int:
        return (await asyncio.to_thread(self._client.uids, encode_name(name)))[index]


@asynccontextmanager
async def dovecot_side(server: Dovecot) -> AsyncIterator[DovecotSide]:
    """A user whom nobody else has."""
    user = server.user("history")
    with other_client(server, user) as client:
        client.uids("INBOX")  # makes the folders that are made by themselves
        yield DovecotSide(server, user, client)
    shutil.rmtree(server.home / "mail" / user, ignore_errors=True)
