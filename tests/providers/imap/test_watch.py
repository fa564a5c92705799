"""The watch of the adapter: what each response of a server is told as, and what becomes of failures."""

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from imap.scripted import ScriptedServer, serving
from providers.told import Ear
from servers.dovecot import Dovecot
from servers.mailbox import other_client

from postroom.imap.quirks import Quirk
from postroom.lab.server import LabServer, serve
from postroom.net.egress import Egress
from postroom.providers.imap import conversation, watch
from postroom.providers.imap.provider import ImapProvider
from postroom.providers.model import (
    Changed,
    Ended,
    FolderStatus,
    Login,
    Mailbox,
    Means,
    RemoteFolder,
    SentAway,
    ServerRefused,
    Unreachable,
    Watching,
)

PROVIDER = ImapProvider(Egress(private_allowed=True))
HEAVIEST = 8_000  # bytes of a watched mailbox, but for its socket and the loop's part
INBOX = RemoteFolder(b"INBOX", "INBOX")
IDLING = """
C: TAG EXAMINE "INBOX"
S: * 3 EXISTS
S: * OK [UIDVALIDITY 7] v
S: * OK [UIDNEXT 10] n
S: TAG OK [READ-ONLY] open
C: TAG IDLE
S: + idling
"""
NOTIFY = "C: TAG NOTIFY SET STATUS (selected ({0})) (personal ({0}{1}))"
ALL = NOTIFY.format("MessageNew MessageExpunge FlagChange", " MailboxName")
FEW = NOTIFY.format("MessageNew MessageExpunge", "")
OPENED, IDLES = IDLING.split("C: TAG IDLE")[0], "\nC: TAG IDLE\nS: + idling\n"
QUIET = "C: DONE\nS: TAG OK\nC: TAG NOTIFY NONE\nS: TAG OK\n"


@asynccontextmanager
async def scripted(script: str, capabilities: str = "IDLE") -> AsyncIterator[tuple[ScriptedServer, Mailbox]]:
    greeting = f"S: * PREAUTH [CAPABILITY IMAP4rev1 {capabilities}] ready\n"
    async with serving(greeting + script) as server:
        settings = {"host": "127.0.0.1", "port": server.port, "security": "plain"}
        async with PROVIDER.open(Login("ann", settings, "right")) as mailbox:
            yield server, mailbox


async def watched(mailbox: Mailbox, ear: Ear, *folders: RemoteFolder) -> Watching:
    watching = await mailbox.watch(folders or [INBOX], ear)
    assert watching is not None
    return watching


@asynccontextmanager
async def at_lab(*faults: str, offers: str = "qresync") -> AsyncIterator[tuple[LabServer, Mailbox, Ear]]:
    async with serve(messages=4, folder_count=2, faults=faults, offers=offers) as server:
        settings = {"host": server.host, "port": server.port, "security": "plain"}
        async with PROVIDER.open(Login(server.address, settings, server.password)) as mailbox:
            yield server, mailbox, Ear()


def inbox_first(folders: Sequence[RemoteFolder]) -> list[RemoteFolder]:
    return sorted(folders, key=lambda folder: folder.path != "INBOX")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("* 4 EXISTS", Changed(b"INBOX", 4)),
        ("* 2 EXPUNGE", Changed(b"INBOX")),
        ("* VANISHED 3:4", Changed(b"INBOX")),
        ("* 2 FETCH (FLAGS (\\Seen))", Changed(b"INBOX")),
        ("* 9 FETCH (FLAGS (\\Seen))", Changed(b"INBOX")),
        ("* STATUS Archive (MESSAGES 8)", Changed(b"Archive", 8)),
        ("* STATUS inbox (UIDNEXT 8)", Changed(b"INBOX")),
        ('* LIST () "/" New', Changed()),
        ("* VANISHED what", Changed(b"INBOX")),
    ],
)
async def test_what_a_server_says_while_it_idles_is_told(said: str, told: Changed) -> None:
    ear = Ear()
    async with scripted(f"{IDLING}S: * OK still here\nS: * 0 RECENT\nS: {said}") as (_, mailbox):
        await watched(mailbox, ear)

        assert await ear.next() == [told]


async def test_equal_notices_come_once_until_somebody_looks() -> None:
    ear = Ear()
    again = "S: * 4 EXISTS\nS: * 1 FETCH (FLAGS ())\n" * 3
    script = f"{IDLING}{again}S: * 5 EXISTS\nC: DONE\n{again}S: TAG OK\nC: TAG IDLE\nS: + idling"
    async with scripted(script) as (_, mailbox):
        watching = await watched(mailbox, ear)
        first = await ear.next(3)
        watching.looked()
        await watching.renew()

        assert first == [Changed(b"INBOX", 4), Changed(b"INBOX"), Changed(b"INBOX", 5)]
        assert ear.heard == first[:2]


async def test_a_server_that_tells_without_end_is_told_as_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "MOST_UNSEEN", 3)
    ear = Ear()
    flood = "".join(f"S: * STATUS f{number} (MESSAGES 1)\n" for number in range(10))
    script = f"{IDLING}{flood}C: DONE\nS: TAG OK\nC: TAG IDLE\nS: + idling\nS: * 9 EXISTS"
    async with scripted(script) as (_, mailbox):
        watching = await watched(mailbox, ear)
        told = await ear.next(4)
        await watching.renew()
        watching.looked()

        assert told == [*(Changed(b"f%d" % number, 1) for number in range(3)), Changed()]
        assert set(ear.heard) <= {Changed(b"INBOX", 9)}


async def test_the_status_of_a_watch_is_that_of_the_moment_it_begins() -> None:
    script = f"{IDLING}C: DONE\nS: TAG OK\nC: TAG IDLE\nS: + idling"
    async with scripted(script) as (_, mailbox):
        watching = await watched(mailbox, Ear())
        assert watching.means is Means.IDLE
        assert watching.folders == frozenset({b"INBOX"})
        assert watching.statuses == {b"INBOX": FolderStatus(3, 7, 10)}

        await watching.renew()

        assert watching.statuses == {}


@pytest.mark.parametrize(("offers", "told_of"), [("qresync", {b"Sent"}), ("notify", None)])
async def test_where_the_inbox_refuses_to_be_opened_the_next_folder_is_watched(
    offers: str, told_of: set[bytes] | None
) -> None:
    async with at_lab("inbox-refused", offers=offers) as (server, mailbox, ear):
        watching = await watched(mailbox, ear, *inbox_first(await mailbox.folders()))
        assert watching.folders == told_of
        server.mailbox.deliver(b"Subject: sent\r\n\r\nhello", "Sent")
        assert [type(notice) for notice in await ear.next()] == [Changed]


async def test_a_server_that_opens_no_folder_tells_nothing_and_stays_usable() -> None:
    async with at_lab("inbox-refused", "select-fails") as (_, mailbox, ear):
        folders = inbox_first(await mailbox.folders())
        assert await mailbox.watch(folders, ear) is None
        await mailbox.ping()


async def test_a_server_that_wants_less_of_us_is_asked_for_no_second_folder() -> None:
    refusal = 'C: TAG EXAMINE "INBOX"\nS: TAG NO [LIMIT] too many\nC: TAG NOOP\nS: TAG OK'
    async with scripted(refusal) as (_, mailbox):
        with pytest.raises(SentAway):
            await mailbox.watch([INBOX, RemoteFolder(b"Sent", "Sent")], Ear())
        await mailbox.ping()


async def test_a_server_without_idle_tells_nothing() -> None:
    async with scripted("C: TAG LOGOUT\nS: TAG OK", capabilities="UIDPLUS") as (_, mailbox):
        assert await mailbox.watch([INBOX], Ear()) is None


async def test_a_server_that_refuses_idle_tells_nothing_and_stays_usable() -> None:
    refusal = IDLING.replace("S: + idling", "S: TAG BAD what\nC: TAG NOOP\nS: TAG OK")
    async with scripted(refusal) as (_, mailbox):
        assert await mailbox.watch([INBOX], Ear()) is None
        await mailbox.ping()


async def test_a_server_that_wants_less_of_us_is_not_taken_for_one_without_idle() -> None:
    async with scripted(IDLING.replace("S: + idling", "S: TAG NO [LIMIT] too many")) as (_, mailbox):
        with pytest.raises(SentAway):
            await mailbox.watch([INBOX], Ear())


async def test_a_server_that_ends_idle_by_itself_ends_the_watch() -> None:
    ear = Ear()
    script = f"{IDLING}S: * 4 EXISTS\nS: TAG OK enough\nC: TAG NOOP\nS: TAG OK"
    async with scripted(script) as (_, mailbox):
        watching = await watched(mailbox, ear)
        ended = await ear.ended()
        assert isinstance(ended.error, ServerRefused)
        with pytest.raises(ServerRefused):
            await watching.renew()

        await mailbox.ping()


async def test_a_connection_that_is_lost_ends_the_watch_once() -> None:
    ear = Ear()
    async with scripted(f"{IDLING}<wait>\n<close>") as (server, mailbox):
        watching = await watched(mailbox, ear)
        server.go.set()
        ended = await ear.ended()
        assert isinstance(ended.error, Unreachable)
        for call in (watching.renew, mailbox.ping, mailbox.folders):
            with pytest.raises(Unreachable):
                await call()

    assert ear.heard == []


async def test_bye_ends_the_watch_with_the_servers_words() -> None:
    ear = Ear()
    async with scripted(f"{IDLING}<wait>\nS: * BYE shutting down\n<close>") as (server, mailbox):
        await watched(mailbox, ear)
        server.go.set()
        ended = await ear.ended()

    assert isinstance(ended.error, SentAway)
    assert "shutting down" in ended.error.message


@pytest.mark.parametrize("host", ["imap.gmail.com", "imap.example.com"])
async def test_some_servers_are_renewed_sooner(host: str) -> None:
    async with scripted(IDLING) as (_, mailbox):
        watching = await watched(mailbox, Ear())
        if host == "imap.gmail.com":
            mailbox._conversation.quirks = frozenset({Quirk.SHORT_IDLE})  # type: ignore[attr-defined]

        assert watching.renew_within == (watch.RENEW_SOON if host == "imap.gmail.com" else watch.RENEW)


async def test_notify_tells_of_all_folders_and_how_they_stood() -> None:
    ear = Ear()
    archive = RemoteFolder(b"Archive", "Archive")
    told = """
    S: * STATUS Archive (MESSAGES 8 UIDNEXT 9 UIDVALIDITY 2)
    S: TAG OK
    """
    later = """
    S: * STATUS Archive (MESSAGES 9)
    S: * LIST () "/" "New" ("OLDNAME" ("Old"))
    """
    script = OPENED + ALL + told + IDLES + "<wait>" + later + QUIET + "C: TAG NOOP\nS: TAG OK"
    async with scripted(script, "IDLE NOTIFY") as (server, mailbox):
        watching = await watched(mailbox, ear, INBOX, archive)
        assert (watching.means, watching.folders) == (Means.NOTIFY, None)
        assert watching.statuses == {b"INBOX": FolderStatus(3, 7, 10), b"Archive": FolderStatus(8, 2, 9)}

        server.go.set()
        assert await ear.next(2) == [Changed(b"Archive", 9), Changed()]
        await mailbox.ping()


async def test_a_folder_that_notify_is_silent_of_is_not_said_to_be_watched() -> None:
    shared = RemoteFolder(b"Shared/Team", "Shared/Team")
    level = RemoteFolder(b"Level", "Level", selectable=False)
    async with scripted(OPENED + ALL + "\nS: TAG OK" + IDLES, "IDLE NOTIFY") as (_, mailbox):
        watching = await watched(mailbox, Ear(), INBOX, shared, level)

        assert watching.folders == frozenset({b"INBOX"})


async def test_a_server_that_does_not_know_all_events_is_asked_for_fewer() -> None:
    refused = "\nS: TAG NO [BADEVENT (MessageNew MessageExpunge)] what\n"
    script = OPENED + ALL + refused + FEW + "\nS: TAG OK" + IDLES
    async with scripted(script, "IDLE NOTIFY") as (_, mailbox):
        watching = await watched(mailbox, Ear())

        assert watching.means is Means.NOTIFY


async def test_notify_that_is_refused_falls_back_to_idle_and_is_not_asked_again() -> None:
    refused = "\nS: TAG NO [BADEVENT (MessageNew)] what\n"
    script = OPENED + ALL + refused + FEW + "\nS: TAG BAD what" + IDLES + "C: DONE\nS: TAG OK" + IDLING
    async with scripted(script, "IDLE NOTIFY") as (_, mailbox):
        for _ in range(2):
            watching = await watched(mailbox, Ear())
            assert (watching.means, watching.folders) == (Means.IDLE, frozenset({b"INBOX"}))


async def test_notify_without_idle_is_renewed_by_noop() -> None:
    ear = Ear()
    script = OPENED + ALL + "\nS: TAG OK\nC: TAG NOOP\nS: TAG OK\nC: TAG NOOP\nS: * 4 EXISTS\nS: TAG OK\n"
    async with scripted(f"{script}<wait>\nS: * 5 EXISTS", "NOTIFY") as (server, mailbox):
        watching = await watched(mailbox, ear)
        await watching.renew()
        assert await ear.next() == [Changed(b"INBOX", 4)]
        server.go.set()
        assert await ear.next() == [Changed(b"INBOX", 5)]


async def test_an_overflow_ends_the_watch_and_the_next_one_idles() -> None:
    ear = Ear()
    script = (
        OPENED + ALL + "\nS: TAG OK" + IDLES + "S: * OK [NOTIFICATIONOVERFLOW] too much\n" + QUIET + IDLING
    )
    async with scripted(script, "IDLE NOTIFY") as (_, mailbox):
        await watched(mailbox, ear)
        everything, end = await ear.next(2)
        assert everything == Changed()
        assert isinstance(end, Ended)

        assert (await watched(mailbox, ear)).means is Means.IDLE


async def test_dovecot_tells_of_every_mail_whichever_program_delivers_it(dovecot: Dovecot) -> None:
    """With NOTIFY and without IDLE it forgets every second change."""
    user, ear = dovecot.user("watch"), Ear()
    settings = {"host": dovecot.host, "port": dovecot.port, "security": "plain"}
    async with PROVIDER.open(Login(user, settings, dovecot.password)) as mailbox:
        folders = sorted(await mailbox.folders(), key=lambda folder: folder.path != "INBOX")
        watching = await watched(mailbox, ear, *folders)
        for number in range(1, 7):
            watching.looked()
            raw = b"Subject: %d\r\n\r\n" % number
            if number % 2:
                dovecot.append(user, "INBOX", [raw])
            else:
                with other_client(dovecot, user) as other:
                    await asyncio.to_thread(other.append, "INBOX", raw)
            while (await ear.changed(b"INBOX")).messages != number:
                pass

    assert watching.means is Means.NOTIFY


@pytest.mark.parametrize("offers", ["qresync", "notify"])
async def test_a_removal_that_is_told_once_is_told(offers: str) -> None:
    """VANISHED comes while we idle or while we leave it, and never again: it must not be passed over."""
    async with at_lab("vanished-once", offers=offers) as (server, mailbox, ear):
        watching = await watched(mailbox, ear)
        for uid in (1, 2):
            server.mailbox.expunge("INBOX", uid)
            await watching.renew()
            assert Changed(b"INBOX") in ear.heard
            ear.heard.clear()
            watching.looked()


@pytest.mark.parametrize("fault", ["idle-half-open", "done-unanswered"])
async def test_a_server_that_is_silently_gone_is_noticed_by_the_renewal(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "SILENCE", 0.1)
    async with at_lab(fault) as (_, mailbox, ear):
        watching = await watched(mailbox, ear)
        with pytest.raises(Unreachable):
            await watching.renew()
        with pytest.raises(Unreachable):
            await mailbox.ping()

        assert ear.heard == []


async def test_a_watch_whose_renewal_was_cut_off_is_over() -> None:
    async with at_lab("done-unanswered") as (_, mailbox, ear):
        watching = await watched(mailbox, ear)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await watching.renew()
        with pytest.raises(Unreachable):
            await watching.renew()

        assert ear.heard == []


async def test_a_watch_that_another_call_has_ended_cannot_be_renewed() -> None:
    async with at_lab() as (server, mailbox, ear):
        old = await watched(mailbox, ear)
        await mailbox.ping()
        with pytest.raises(Unreachable):
            await old.renew()
        new = await watched(mailbox, ear)
        with pytest.raises(Unreachable):
            await old.renew()
        await new.renew()
        server.arrive()
        await ear.changed(b"INBOX")


async def test_a_server_that_says_goodbye_instead_of_idling_is_come_back_to_later() -> None:
    async with at_lab("bye-in-idle") as (_, mailbox, ear):
        with pytest.raises(SentAway):
            await mailbox.watch([INBOX], ear)


@pytest.mark.parametrize("fault", ["idle-dies", "idle-tells-once"])
async def test_what_a_server_keeps_to_itself_shows_in_the_status_of_the_next_watch(fault: str) -> None:
    async with at_lab(fault) as (server, mailbox, ear):
        first = await watched(mailbox, ear)
        for _ in range(2):
            server.arrive()
        await first.renew()
        second = await watched(mailbox, ear)

    before, after = (watching.statuses for watching in (first, second))
    assert (before, after[b"INBOX"].messages) == ({}, 4)


async def test_counts_of_another_folder_are_a_hint_that_does_no_harm() -> None:
    async with at_lab("exists-of-another") as (server, mailbox, ear):
        await watched(mailbox, ear)
        (told,) = await ear.next()
        opened = await mailbox.open(INBOX)

    assert told == Changed(b"INBOX", 3)
    assert opened.status.messages == len(server.mailbox.folder("INBOX").messages)


async def test_notify_that_a_lab_refuses_or_ends_leaves_idle() -> None:
    async with at_lab("notify-refused", offers="notify") as (_, mailbox, ear):
        assert (await watched(mailbox, ear)).means is Means.IDLE
    async with at_lab("notify-overflow", offers="notify") as (server, mailbox, ear):
        assert (await watched(mailbox, ear)).means is Means.NOTIFY
        server.mailbox.deliver(b"Subject: x\r\n\r\n", "Sent")
        assert isinstance((await ear.ended()).error, ServerRefused)
        assert (await watched(mailbox, ear)).means is Means.IDLE
        server.arrive()
        await ear.changed(b"INBOX")


async def test_a_mailbox_that_is_watched_weighs_little() -> None:
    """What our own lines hold: objects, frames, and what servers say again and again is shared."""
    ear, count = Ear(), 100
    async with at_lab() as (server, _, _), AsyncExitStack() as stack:
        settings = {"host": server.host, "port": server.port, "security": "plain"}

        async def begin() -> None:
            opening = PROVIDER.open(Login(server.address, settings, server.password))
            watching = await watched(await stack.enter_async_context(opening), ear)
            stack.callback(watching.looked)

        await begin()
        tracemalloc.start()
        try:
            for _ in range(count):
                await begin()
            gc.collect()
            ours = [
                tracemalloc.Filter(inclusive=True, filename_pattern=f"*/postroom/{room}/*")
                for room in ("imap", "providers", "net")
            ]
            traces = tracemalloc.take_snapshot().filter_traces(ours)
        finally:
            tracemalloc.stop()

    assert sum(trace.size for trace in traces.traces) / count < HEAVIEST
