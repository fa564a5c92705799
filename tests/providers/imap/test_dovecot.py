"""The adapter against a real server."""

from datetime import UTC, datetime

import pytest
from servers.dovecot import Dovecot

from postroom.imap import commands
from postroom.imap.aio import connect
from postroom.imap.commands import Command
from postroom.imap.uids import LARGEST, UidSet
from postroom.net.egress import Egress
from postroom.providers.imap.provider import ImapMailbox, ImapProvider
from postroom.providers.model import (
    FolderGone,
    FolderRole,
    FolderStatus,
    Login,
    Mailbox,
    NotTrusted,
    PortClosed,
    RemoteFolder,
    RemoteMessage,
    Unfetched,
    UnknownHost,
    WrongPassword,
)

PROVIDER = ImapProvider(Egress(private_allowed=True))
THEN = datetime(2024, 2, 29, 12, 0, 5, tzinfo=UTC)


def login(dovecot: Dovecot, user: str, security: str = "tls", **changes: object) -> Login:
    port = dovecot.tls_port if security == "tls" else dovecot.port
    settings = {"host": dovecot.host, "port": port, "security": security, "ca_file": str(dovecot.ca_file)}
    return Login(user, {**settings, **changes}, dovecot.password)


def message(number: int, size: int = 0) -> bytes:
    return b"Subject: %d\r\n\r\n%s\r\n" % (number, b"x" * size)


@pytest.mark.parametrize("security", ["tls", "starttls", "auto", "plain"])
async def test_every_kind_of_security_leads_in(dovecot: Dovecot, security: str) -> None:
    async with PROVIDER.open(login(dovecot, dovecot.user(), security)) as mailbox:
        assert "INBOX" in [folder.path for folder in await mailbox.folders()]
        assert isinstance(mailbox, ImapMailbox)
        assert mailbox._conversation.session.encrypted is (security != "plain")


async def test_folders_come_with_roles_and_numbers(dovecot: Dovecot) -> None:
    user = dovecot.user()
    dovecot.append(user, "INBOX", [message(1), message(2)])
    dovecot.append(user, "Entwürfe/日本語", [message(3)])

    async with PROVIDER.open(login(dovecot, user)) as mailbox:
        folders = {folder.path: folder for folder in await mailbox.folders()}
        estimate = await PROVIDER.estimate(mailbox, list(folders.values()))

    assert folders["INBOX"].role is FolderRole.INBOX
    assert folders["Sent"].role is FolderRole.SENT
    assert folders["Drafts"].role is FolderRole.DRAFTS
    assert folders["Entwürfe/日本語"].name.isascii()
    status = folders["INBOX"].status
    assert status is not None
    assert (status.messages, status.uid_next) == (2, 3)
    assert status.validity
    assert estimate.messages == 3
    assert estimate.bytes is not None
    assert 45 <= estimate.bytes <= 60


async def test_messages_arrive_byte_for_byte_whatever_their_size(dovecot: Dovecot) -> None:
    user = dovecot.user()
    raws = [message(n, size) for n, size in enumerate([0, 10, 200_000, 3_000_000, 1_000_000, 5])]
    dovecot.append(user, "INBOX", raws, received=[THEN] * 6, flags=[["\\Seen"], *[[]] * 5])

    async with PROVIDER.open(login(dovecot, user)) as mailbox:
        folder = await mailbox.open(await inbox(mailbox))
        items = await folder.scan(await folder.uids())
        got = {}
        async for answer in folder.fetch(list(reversed(items))):
            assert isinstance(answer, RemoteMessage)
            content = answer.content if isinstance(answer.content, bytes) else answer.content.read()
            if not isinstance(answer.content, bytes):
                answer.content.close()
            assert answer.size == len(content)
            got[answer.uid] = content

    assert [got[uid] for uid in sorted(got)] == raws
    assert items[0].flags == frozenset({"\\Seen"})
    assert items[0].received_at == THEN
    assert [item.size for item in items] == [len(raw) for raw in raws]


async def test_reading_marks_nothing_as_read(dovecot: Dovecot) -> None:
    user = dovecot.user()
    dovecot.append(user, "INBOX", [message(1)])

    for _ in range(2):
        async with PROVIDER.open(login(dovecot, user)) as mailbox:
            folder = await mailbox.open(await inbox(mailbox))
            items = await folder.scan(await folder.uids())
            assert items[0].flags is not None
            assert "\\Seen" not in items[0].flags
            assert len([m async for m in folder.fetch(items)]) == 1


async def test_changes_name_flags_and_removals_since_a_cursor(dovecot: Dovecot) -> None:
    user = dovecot.user()
    dovecot.append(user, "INBOX", [message(n) for n in range(5)])

    async with PROVIDER.open(login(dovecot, user)) as mailbox:
        before = (await mailbox.open(await inbox(mailbox))).status
        flagged = commands.uid_store(UidSet.of([2]), "+", ["\\Flagged"])
        await change(dovecot, user, flagged, *remove(4))
        folder = await mailbox.open(await inbox(mailbox))
        changes = await folder.changes(before, 1, LARGEST)

        assert changes is not None
        assert changes.flags == {2: frozenset({"\\Flagged"})}
        assert changes.removed == frozenset({4})
        assert list(await folder.uids()) == [1, 2, 3, 5]
        assert await folder.changes(FolderStatus(validity=before.validity), 1, LARGEST) is None
        assert await folder.changes(FolderStatus(validity=1, modseq=1), 1, LARGEST) is None
        assert (
            await folder.changes(FolderStatus(validity=before.validity, modseq=1 << 60), 1, LARGEST) is None
        )


async def test_a_message_that_goes_between_scan_and_fetch_is_gone_and_the_rest_arrives(
    dovecot: Dovecot,
) -> None:
    user = dovecot.user()
    dovecot.append(user, "INBOX", [message(n) for n in range(5)])

    async with PROVIDER.open(login(dovecot, user)) as mailbox:
        folder = await mailbox.open(await inbox(mailbox))
        items = await folder.scan(await folder.uids())
        await change(dovecot, user, *remove(3))
        answers = {answer.uid: answer async for answer in folder.fetch(items)}
        rescanned = await folder.scan([item.uid for item in items])

    assert answers[3] == Unfetched(3, None)
    assert all(isinstance(answers[uid], RemoteMessage) for uid in (1, 2, 4, 5))
    assert [item.uid for item in rescanned] == [1, 2, 4, 5]


async def test_a_folder_that_vanishes_says_so(dovecot: Dovecot) -> None:
    user = dovecot.user()
    dovecot.append(user, "Lists", [message(1)])

    async with PROVIDER.open(login(dovecot, user)) as mailbox:
        lists = next(f for f in await mailbox.folders() if f.path == "Lists")
        await change(dovecot, user, commands.delete(b"Lists"))
        with pytest.raises(FolderGone, match="Lists is not on the server any more"):
            await mailbox.open(lists)
        assert "INBOX" in [folder.path for folder in await mailbox.folders()]


async def test_a_wrong_password_says_so_and_is_in_no_message(dovecot: Dovecot) -> None:
    wrong = Login("ann", login(dovecot, "ann").settings, "s3cret-w0rd")

    with pytest.raises(WrongPassword, match="does not accept this password for ann") as caught:
        async with PROVIDER.open(wrong):
            pass

    assert "s3cret" not in repr(wrong)
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cret" not in f"{error!r} {error} {getattr(error, 'data', '')}"
        error = error.__cause__


async def test_an_untrusted_certificate_is_refused_with_the_way_out(dovecot: Dovecot) -> None:
    for security in ("tls", "starttls", "auto"):
        with pytest.raises(NotTrusted, match="--ca-file"):
            async with PROVIDER.open(login(dovecot, "ann", security, ca_file=None)):
                pass


async def test_unknown_hosts_and_closed_ports_have_codes_of_their_own(dovecot: Dovecot) -> None:
    with pytest.raises(UnknownHost):
        async with PROVIDER.open(login(dovecot, "ann", host="no-such-host.invalid")):
            pass
    with pytest.raises(PortClosed):
        async with PROVIDER.open(login(dovecot, "ann", port=1)):
            pass


def remove(uid: int) -> list[Command]:
    uids = UidSet.of([uid])
    return [commands.uid_store(uids, "+", ["\\Deleted"]), commands.uid_expunge(uids)]


async def inbox(mailbox: Mailbox) -> RemoteFolder:
    return next(folder for folder in await mailbox.folders() if folder.role is FolderRole.INBOX)


async def change(dovecot: Dovecot, user: str, *wanted: Command) -> None:
    """Do this to INBOX as another client of the same mailbox."""
    async with connect(dovecot.host, dovecot.port) as session:
        await session.log_in(user, dovecot.password)
        await session.run(commands.select(b"INBOX"))
        for command in wanted:
            await session.run(command)
