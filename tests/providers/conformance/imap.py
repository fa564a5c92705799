"""The subjects that speak IMAP: a real Dovecot, and the lab server in each of its modes."""

import asyncio
import imaplib
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from providers.conformance.subject import Can
from servers.dovecot import Dovecot
from servers.mailbox import OtherClient, other_client

from postroom.lab.mailbox import LabFolder
from postroom.lab.names import encode_name
from postroom.lab.server import LabServer
from postroom.net.egress import Egress
from postroom.providers.imap.provider import ImapProvider
from postroom.providers.model import Login, Provider

PROVIDER = ImapProvider(Egress(private_allowed=True))
EVERYTHING = frozenset(Can)
Change = Callable[[str, int], None]


class DovecotSubject:
    """A user of the tests' Dovecot, changed over a second connection by the standard library's client."""

    provider: Provider = PROVIDER

    def __init__(self, server: Dovecot, user: str, client: OtherClient) -> None:
        self._server, self._user, self._client = server, user, client
        self.can: frozenset[Can] = EVERYTHING - {Can.LEVEL, Can.NAME_MAIL, Can.NAME_FOLDER}

    def login(self, **changes: object) -> Login:
        settings: dict[str, object] = {
            "host": self._server.host,
            "port": self._server.port,
            "security": "plain",
            **changes,
        }
        secret = str(settings.pop("secret", self._server.password))
        return Login(self._user, settings, secret)

    def unreachable(self) -> Login:
        return self.login(port=1)

    async def create(self, path: str) -> None:
        await asyncio.to_thread(self._client.create, encode_name(path))

    async def deliver(
        self, path: str, raw: bytes, *, flags: Collection[str] = (), received: datetime | None = None
    ) -> None:
        if not raw:  # APPEND refuses it, while a Maildir may well hold it
            await asyncio.to_thread(self._server.append, self._user, path, [raw], flags=[flags])
            return
        when = imaplib.Time2Internaldate(received or datetime.now(UTC))
        await asyncio.to_thread(self._client.append, encode_name(path), raw, " ".join(flags), when)

    async def fill(self, path: str, raws: Iterable[bytes]) -> None:
        await asyncio.to_thread(self._server.append, self._user, path, raws)

    async def flag(self, path: str, raw: bytes, flags: Collection[str]) -> None:
        await self._with(
            path, raw, lambda name, uid: self._client.flag(name, [uid], "FLAGS", " ".join(flags))
        )

    async def remove(self, path: str, raw: bytes) -> None:
        await self._with(path, raw, lambda name, uid: self._client.expunge(name, [uid]))

    async def move(self, path: str, raw: bytes, target: str) -> None:
        await self._with(path, raw, lambda name, uid: self._client.move(name, [uid], encode_name(target)))

    async def rename(self, path: str, new: str) -> None:
        await asyncio.to_thread(self._client.rename, encode_name(path), encode_name(new))

    async def drop(self, path: str) -> None:
        await asyncio.to_thread(self._client.delete, encode_name(path))

    async def held(self, path: str) -> Mapping[bytes, frozenset[str]]:
        found = await asyncio.to_thread(self._client.messages, encode_name(path))
        return {raw: flags for flags, raw in found.values()}

    async def _with(self, path: str, raw: bytes, change: Change) -> None:
        name = encode_name(path)
        found = await asyncio.to_thread(self._client.messages, name)
        uid = next(uid for uid, (_, content) in found.items() if content == raw)
        await asyncio.to_thread(change, name, uid)


class LabSubject:
    """The mailbox of a lab server, changed in memory."""

    provider: Provider = PROVIDER

    def __init__(self, server: LabServer, lacks: Collection[Can] = ()) -> None:
        self._server = server
        self.can: frozenset[Can] = EVERYTHING - frozenset(lacks)

    def login(self, **changes: object) -> Login:
        server = self._server
        settings: dict[str, object] = {
            "host": server.host,
            "port": server.port,
            "security": "plain",
            **changes,
        }
        secret = str(settings.pop("secret", server.password))
        return Login(server.address, settings, secret)

    def unreachable(self) -> Login:
        return self.login(port=1)

    async def create(self, path: str) -> None:
        self._server.mailbox.create(path)

    async def deliver(
        self, path: str, raw: bytes, *, flags: Collection[str] = (), received: datetime | None = None
    ) -> None:
        self._folder(path).deliver(raw, flags=flags, received=received)

    async def fill(self, path: str, raws: Iterable[bytes]) -> None:
        for raw in raws:
            self._folder(path).deliver(raw)

    async def flag(self, path: str, raw: bytes, flags: Collection[str]) -> None:
        self._folder(path).flag(self._uid(path, raw), flags)

    async def remove(self, path: str, raw: bytes) -> None:
        self._folder(path).expunge(self._uid(path, raw))

    async def move(self, path: str, raw: bytes, target: str) -> None:
        self._server.mailbox.move(path, self._uid(path, raw), target)

    async def rename(self, path: str, new: str) -> None:
        self._server.mailbox.rename(path, new)

    async def drop(self, path: str) -> None:
        self._server.mailbox.delete(path)

    async def held(self, path: str) -> Mapping[bytes, frozenset[str]]:
        return {message.raw(): message.flags for message in self._folder(path).messages.values()}

    def _folder(self, path: str) -> LabFolder:
        return self._server.mailbox.folder(path)

    def _uid(self, path: str, raw: bytes) -> int:
        return next(uid for uid, message in self._folder(path).messages.items() if message.raw() == raw)


@asynccontextmanager
async def dovecot_subject(server: Dovecot) -> AsyncIterator[DovecotSubject]:
    user = server.user("conformance")
    with other_client(server, user) as client:
        yield DovecotSubject(server, user, client)
