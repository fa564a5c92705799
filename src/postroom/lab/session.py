"""What one connection to the lab server knows, and what it tells a client without being asked."""

import asyncio
import socket
import ssl
import struct
from asyncio import StreamReader, StreamWriter
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

from postroom.lab import naming, twists
from postroom.lab.deflate import Deflated, Hears, Inflated, Says
from postroom.lab.faults import Faults
from postroom.lab.mailbox import LabFolder, LabMailbox, LabMessage, NoSuchFolder
from postroom.lab.offers import capabilities
from postroom.lab.wire import Argument, Misread, compressed, numbers, quoted, text

WINDOW = 10  # messages that a server shows which hides all but the newest


class No(Exception):
    """The command is refused; the text follows NO."""


class Hangup(Exception):
    """The server ends the connection here and now."""


class Watcher(Protocol):
    """What tells a client of changes without being asked."""

    def wake(self) -> None: ...
    def rest(self, *, free: bool) -> None: ...
    def end(self) -> None: ...


@dataclass(slots=True, eq=False)
class House:
    """What all sessions of a server share."""

    accounts: dict[str, LabMailbox]
    password: str
    faults: Faults
    tls: ssl.SSLContext | None = None
    offers: tuple[str, ...] = capabilities(())
    tokens: set[str] = field(default_factory=set)
    users: Counter[str] = field(default_factory=Counter)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    closed: bool = False

    async def close(self) -> None:
        """End all conversations."""
        self.closed = True
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Session:
    """One connection.

    `known` holds the UIDs that the client has been told of, in order: sequence number n is `known[n - 1]`.
    What the folder holds may be ahead of it; `update` closes the gap where the protocol allows it.
    """

    def __init__(self, house: House, reader: StreamReader, writer: StreamWriter) -> None:
        self.house, self.faults = house, house.faults
        self.reader: Hears = reader
        self.writer: Says = writer
        self._plain = reader, writer
        self.user: str | None = None
        self.mailbox: LabMailbox | None = None
        self.folder: LabFolder | None = None
        self.read_only = False
        self.known: list[int] = []
        self.hidden: frozenset[int] = frozenset()
        self.enabled: set[str] = set()
        self.identified = self.encrypted = self.over = False
        self.lists = 0
        self.kept_code = ""
        self.watcher: Watcher | None = None
        self._validity = self._noticed = self._swept = 0

    @property
    def compressed(self) -> bool:
        return isinstance(self.writer, Deflated)

    async def encrypt(self, context: ssl.SSLContext) -> None:
        """Shake hands; what follows is encrypted."""
        await self._plain[1].start_tls(context)
        self.encrypted = True

    def compress(self) -> None:
        """What follows is compressed, in both directions."""
        reader, writer = self._plain
        self.reader = Inflated(reader)
        self.writer = Deflated(writer, garbled=self.faults.active("compress-garbled"))

    def line(self, raw: bytes) -> None:
        """Queue one untagged response."""
        self.writer.write(self.twisted(raw) + b"\r\n")

    def twisted(self, raw: bytes) -> bytes:
        """A response as faults have it."""
        for fault in self.faults.among(twists.UNTAGGED):
            raw = twists.UNTAGGED[fault](raw)
        return raw

    def complete(self, raw: bytes) -> None:
        """Queue the end of a command."""
        for fault in self.faults.among(twists.ENDS):
            raw = twists.ENDS[fault](raw)
        self.writer.write(raw + b"\r\n")

    async def reset(self) -> NoReturn:
        """End the connection with a RST, as a middlebox does."""
        await self.writer.drain()
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        raise Hangup

    async def fall_silent(self) -> NoReturn:
        """Say nothing more until the client has gone."""
        await self.writer.drain()
        while await self.reader.read(1 << 16):
            pass
        raise Hangup

    def shown(self, name: str) -> bytes:
        """A folder's name as the client sees it, quoted."""
        return quoted(naming.shown(self.faults, name).decode("utf-8", "surrogateescape"))

    def called(self, argument: Argument) -> str:
        """The folder that a client means. Raises NoSuchFolder."""
        raw = text(argument).encode("utf-8", "surrogateescape")
        name = naming.meant(self.faults, raw, self.account.folders)
        if name is None or (name == "INBOX" and self.faults.active("inbox-missing")):
            raise NoSuchFolder(text(argument))
        return name

    @property
    def offered(self) -> tuple[str, ...]:
        """The capabilities of the server, as far as it knows them after the login."""
        if self.faults.active("capability-differs"):
            return capabilities("plain")
        missing = "UIDPLUS" if self.faults.active("uidplus-missing") else ""
        known = (word for word in self.house.offers if not word.startswith("AUTH="))
        return tuple(word for word in known if word != missing)

    def offers(self, word: str) -> bool:
        """Whether the server offers a capability."""
        return word in self.offered

    def require(self, word: str, what: str) -> None:
        """What belongs to a capability that is not offered makes no sense here."""
        if not self.offers(word):
            raise Misread(f"{what} is not known here")

    @property
    def account(self) -> LabMailbox:
        """The mailbox of who has signed in."""
        if self.mailbox is None:
            raise No("sign in first")
        return self.mailbox

    @property
    def selected(self) -> LabFolder:
        """The folder that is open."""
        if self.folder is None:
            raise No("select a folder first")
        if self.folder.deleted or self.folder.validity != self._validity:
            self.line(b"* BYE the folder is not what it was")
            raise Hangup
        return self.folder

    def sign_in(self, user: str) -> None:
        """From here on the session belongs to an account."""
        self.user, self.mailbox = user, self.house.accounts[user]
        self.house.users[user] += 1

    def open(self, folder: LabFolder, *, read_only: bool) -> None:
        """Look at a folder from now on."""
        self.leave()
        self.folder, self.read_only = folder, read_only
        self.hidden = self._hidden(folder)
        self.known = [uid for uid in folder.messages if uid not in self.hidden]
        self._validity = folder.validity
        self._noticed = self._swept = folder.modseq
        folder.watchers.add(self.wake)

    def _hidden(self, folder: LabFolder) -> frozenset[int]:
        """The UIDs that a fault keeps from this look at a folder."""
        empty = self.faults.first("folder-looks-empty", folder.name)
        if empty or self.faults.turn("validity-changes-empty", f"{folder.name}:shown") == 2:
            return frozenset(folder.messages)
        if self.faults.active("newest-only"):
            return frozenset(list(folder.messages)[:-WINDOW])
        return frozenset()

    def leave(self) -> None:
        """Look at no folder."""
        if self.folder is not None:
            self.folder.watchers.discard(self.wake)
        self.folder, self.known = None, []

    def wake(self) -> None:
        """The open folder has changed."""
        if self.watcher is not None:
            self.watcher.wake()

    def rest(self, *, free: bool) -> None:
        """Whether the client may be told of changes from here on, or a command is carried out."""
        if self.watcher is not None:
            self.watcher.rest(free=free)

    def hang_up(self) -> None:
        """End the connection once everything is said."""
        self._plain[1].close()

    def end(self) -> None:
        """The connection is over."""
        self.leave()
        if self.watcher is not None:
            self.watcher.end()
        if self.user is not None:
            self.house.users[self.user] -= 1
            self.user = None

    def sequence(self, uid: int) -> int:
        """The sequence number of a UID that the client knows of."""
        return bisect_left(self.known, uid) + 1

    def flags_of(self, message: LabMessage) -> bytes:
        """A FETCH answer with a message's flags."""
        modseq = b" MODSEQ (%d)" % message.modseq if "CONDSTORE" in self.enabled else b""
        flags = " ".join(sorted(message.flags)).encode()
        return b"* %d FETCH (UID %d FLAGS (%s)%s)" % (
            self.sequence(message.uid),
            message.uid,
            flags,
            modseq,
        )

    def update(self, *, expunge: bool) -> bool:
        """Tell what has changed. Without `expunge` sequence numbers stay as they are (RFC 3501, 7.4.1).

        Whether anything had.
        """
        if self.folder is None:
            return False
        folder = self.selected
        behind = self._noticed != folder.modseq or (expunge and self._swept != folder.modseq)
        if expunge and self._swept != folder.modseq:
            self._tell_gone(folder)
            self._swept = folder.modseq
        if self._noticed != folder.modseq:
            last = self.known[-1] if self.known else 0
            changed = [
                m for m in folder.messages.values() if m.modseq > self._noticed and m.uid not in self.hidden
            ]
            new = [message.uid for message in changed if message.uid > last]
            if new:
                self.known += new
                self.line(b"* %d EXISTS" % len(self.known))
            for message in changed:
                if message.uid <= last:
                    self.line(self.flags_of(message))
            self._noticed = folder.modseq
        return behind

    def tell_vanished(self, since: int, asked: str = "") -> None:
        """What has gone since a modification sequence: VANISHED (EARLIER), RFC 7162, 3.2.10."""
        folder = self.selected
        gone = sorted({uid for modseq, uid in folder.gone if modseq > since})
        if asked:
            gone = numbers(asked, gone)
        if self.faults.active("vanished-once"):
            gone = []
        if self.faults.active("vanished-lies"):
            gone = sorted({*gone, *self.known[-2:]})
        if gone:
            self.line(b"* VANISHED (EARLIER) %s" % compressed(gone).encode())

    def _tell_gone(self, folder: LabFolder) -> None:
        gone = [uid for uid in self.known if uid not in folder.messages]
        if not gone:
            return
        if "QRESYNC" in self.enabled:
            self.line(b"* VANISHED %s" % compressed(gone).encode())
        else:
            for uid in reversed(gone):
                self.line(b"* %d EXPUNGE" % self.sequence(uid))
        self.known = [uid for uid in self.known if uid in folder.messages]

    def noticed(self) -> None:
        """The client need not be told of what it has just done itself."""
        if self.folder is not None:
            self._noticed = self.folder.modseq
