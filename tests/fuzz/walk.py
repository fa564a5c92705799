"""One of everything that we ask of an IMAP server, through the port; and what came of it, step by step."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from postroom.imap.uids import LARGEST
from postroom.lab.mailbox import LabFolder
from postroom.lab.server import PASSWORD, LabServer
from postroom.net.egress import Egress
from postroom.providers.imap.provider import ImapProvider
from postroom.providers.model import Login, RemoteMessage, Unfetched

PROVIDER = ImapProvider(Egress(private_allowed=True))
ADDRESS = "robin@lab.example"
DAY = date(2026, 3, 1)
Step = tuple[str, Any]


def fill(server: LabServer) -> LabFolder:
    """Few and small mails, one larger than the others; and a past, of which QRESYNC can tell."""
    inbox = server.mailbox.folder("INBOX")
    for number in range(6):
        text = b"line %d\r\n" * (60 if number == 3 else 2)
        raw = b"Subject: %d\r\n\r\n" % number + text.replace(b"%d", b"%d" % number)
        inbox.deliver(raw, received=datetime(2026, number + 1, 1, tzinfo=UTC))
    server.mailbox.create("Größe").deliver(b"Subject: x\r\n\r\n", flags=["\\Seen", "$Later"])
    inbox.flag(2, ["\\Flagged"])
    inbox.expunge(5)
    return inbox


def login(port: int, mechanism: str) -> Login:
    settings = {"host": "127.0.0.1", "port": port, "security": "plain", "mechanism": mechanism}
    return Login(ADDRESS, settings, PASSWORD)


async def steps(port: int, mechanism: str = "PLAIN") -> AsyncIterator[Step]:
    """Raises the port's errors. Messages are read, and closed."""
    async with PROVIDER.open(login(port, mechanism)) as mailbox:
        yield "open", None
        folders = await mailbox.folders()
        yield "folders", folders
        yield "estimate", await PROVIDER.estimate(mailbox, folders)
        inbox = await mailbox.open(next(folder for folder in folders if folder.name == b"INBOX"))
        yield "status", inbox.status
        uids = await inbox.uids()
        yield "uids", uids
        yield "received since", sorted(await inbox.received_since(DAY))
        items = await inbox.scan(uids)
        yield "items", items
        yield "changes", await inbox.changes(replace(inbox.status, modseq=7), 1, LARGEST)
        async with aclosing(inbox.fetch(items)) as messages:  # type: ignore[type-var]
            async for message in messages:
                yield "message", taken(message)
    yield "closed", None


def taken(message: RemoteMessage | Unfetched) -> tuple[Any, ...]:
    """A message as a value, with its whole content."""
    if isinstance(message, Unfetched):
        return message.uid, message.error
    content = message.content
    if not isinstance(content, bytes):
        with content as file:
            content = file.read()
    assert len(content) == message.size
    return message.uid, content, message.flags, message.received_at
