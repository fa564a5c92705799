"""The adapter against everything that servers were seen to do wrong, as the lab server plays it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from postroom.errors import PostroomError
from postroom.imap.framing import Spool
from postroom.imap.uids import LARGEST
from postroom.lab.certificate import make_certificate
from postroom.lab.server import LabServer, serve
from postroom.lab.session import WINDOW
from postroom.net.egress import Egress
from postroom.providers.imap import conversation, provider
from postroom.providers.imap import folder as imap_folder
from postroom.providers.imap.provider import ImapProvider
from postroom.providers.model import (
    AppPassword,
    Blocked,
    Expired,
    FolderGone,
    Incomplete,
    Login,
    Mailbox,
    NoMailbox,
    OpenFolder,
    RemoteItem,
    RemoteMessage,
    SentAway,
    ServerRefused,
    TlsRefused,
    Unfetchable,
    Unfetched,
    Unreachable,
    WrongPassword,
)

PROVIDER = ImapProvider(Egress(private_allowed=True))


def login(server: LabServer, **changes: object) -> Login:
    settings = {"host": "127.0.0.1", "port": server.port, "security": "plain"}
    return Login(server.address, {**settings, **changes}, server.password)


@asynccontextmanager
async def mailbox(*faults: str, messages: int = 40) -> AsyncIterator[Mailbox]:
    async with (
        serve(messages=messages, folder_count=2, faults=faults) as server,
        PROVIDER.open(login(server)) as opened,
    ):
        yield opened


async def inbox(opened: Mailbox) -> OpenFolder:
    return await opened.open(next(f for f in await opened.folders() if f.path == "INBOX"))


async def answers(folder: OpenFolder) -> dict[int, RemoteMessage | Unfetched]:
    return await collected(folder, await folder.scan(await folder.uids()))


async def collected(
    folder: OpenFolder,
    items: Sequence[RemoteItem],
    got: dict[int, RemoteMessage | Unfetched] | None = None,
) -> dict[int, RemoteMessage | Unfetched]:
    got = {} if got is None else got
    async for one in folder.fetch(items):
        got[one.uid] = one
    return got


async def failure(server: LabServer, **changes: object) -> PostroomError:
    with pytest.raises(PostroomError) as caught:
        async with PROVIDER.open(login(server, **changes)) as opened:
            await inbox(opened)
    assert server.password not in f"{caught.value} {caught.value.data}"
    return caught.value


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("greeting-bye", SentAway, "ended the conversation"),
        ("login-no", WrongPassword, "does not accept this password for robin@lab.example"),
        ("authenticated-not-connected", NoMailbox, "opens no mailbox"),
        ("login-expired", Expired, "has expired"),
        ("login-blocked", Blocked, "ask its administrator"),
    ],
)
async def test_what_goes_wrong_at_the_door_is_said_in_one_sentence(
    fault: str, kind: type[PostroomError], words: str
) -> None:
    async with serve(messages=5, faults=[fault]) as server:
        error = await failure(server)

    assert type(error) is kind
    assert words in str(error)
    assert "\n" not in str(error)


async def test_a_greeting_that_never_comes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "GREETING", 0.05)
    async with serve(messages=5, faults=["greeting-late"]) as server:
        error = await failure(server)

    assert type(error) is Unreachable
    assert f"imaps://127.0.0.1:{server.port}" in str(error)


@pytest.mark.parametrize("fault", ["starttls-stripped", "starttls-injection", "preauth"])
async def test_starttls_is_never_given_up(fault: str, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    async with serve(messages=5, faults=[fault], certificate=certificate) as server:
        error = await failure(server, security="starttls", ca_file=str(certificate.certificate))

    assert type(error) is TlsRefused


async def test_a_server_without_starttls_is_refused_unless_auto_was_asked_for() -> None:
    async with serve(messages=5) as server:
        assert type(await failure(server, security="starttls")) is TlsRefused
        async with PROVIDER.open(login(server, security="auto")) as opened:
            assert (await inbox(opened)).status.messages


async def test_no_password_goes_to_a_server_that_disables_login() -> None:
    async with serve(messages=5, faults=["logindisabled"]) as server:
        error = await failure(server)

    assert type(error) is AppPassword
    assert "accepts no password here" in str(error)


async def test_too_many_connections_is_no_matter_of_the_password() -> None:
    async with serve(messages=5, faults=["too-many-connections"]) as server, PROVIDER.open(login(server)):
        error = await failure(server)

    assert isinstance(error, ServerRefused)
    assert error.wait == timedelta(minutes=5)


async def test_the_wait_that_a_server_asks_for_is_obeyed_to_the_millisecond() -> None:
    async with mailbox("backoff") as opened:
        folder = await inbox(opened)
        with pytest.raises(ServerRefused) as caught:
            await folder.scan([1, 2, 3])

    assert caught.value.wait == timedelta(milliseconds=299961)


async def test_a_quota_stops_the_fetch_and_says_how_long_to_wait() -> None:
    async with mailbox("overquota") as opened:
        folder = await inbox(opened)
        items = await folder.scan(await folder.uids())
        with pytest.raises(ServerRefused) as caught:
            await collected(folder, items)

    assert caught.value.wait >= timedelta(hours=1)


async def test_a_poison_message_is_handed_back_and_all_others_arrive() -> None:
    async with mailbox("unavailable-uid") as opened:
        folder = await inbox(opened)
        got = await answers(folder)
        every = list(await folder.uids())

    assert sorted(got) == every
    lost = {uid: one for uid, one in got.items() if isinstance(one, Unfetched)}
    assert list(lost) == [3]
    assert isinstance(lost[3].error, Unfetchable)


@pytest.mark.parametrize("fault", ["empty-body", "body-missing"])
async def test_an_empty_answer_is_no_message(fault: str) -> None:
    async with mailbox(fault) as opened:
        got = await answers(await inbox(opened))

    assert got
    assert all(isinstance(one, Unfetched) for one in got.values())


async def test_a_search_that_finds_too_little_is_not_believed() -> None:
    async with mailbox("search-truncated") as opened:
        folder = await inbox(opened)

        assert len(await folder.uids()) == folder.status.messages
        assert len(await folder.uids()) > 10


async def test_a_message_that_is_passed_over_is_not_gone() -> None:
    async with mailbox("left-out") as opened:
        folder = await inbox(opened)

        found = {item.uid: item for item in await folder.scan([2, 3, 4, 4000])}

    assert sorted(found) == [2, 3, 4]
    assert found[3] == RemoteItem(3, None)


async def test_a_search_where_esearch_was_asked_is_understood() -> None:
    async with mailbox("esearch-ignored") as opened:
        folder = await inbox(opened)

        assert len(await folder.uids()) == folder.status.messages


async def test_a_server_that_hides_old_mail_shows_only_from_some_number_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(imap_folder, "SHOWN_AT_MOST", WINDOW)
    async with mailbox("newest-only") as opened:
        folder = await inbox(opened)
        assert list(await folder.uids()) == list(range(11, 21))
        assert folder.shown_from == 11


async def test_what_is_described_without_a_name_describes_nothing() -> None:
    async with mailbox("uid-missing") as opened:
        folder = await inbox(opened)
        with pytest.raises(Incomplete, match="without saying which"):
            await folder.scan(await folder.uids())


async def test_a_change_that_does_not_say_of_what_is_looked_for_everywhere() -> None:
    async with serve(messages=20, folder_count=1) as server, PROVIDER.open(login(server)) as opened:
        before = (await inbox(opened)).status
        server.mailbox.flag("INBOX", 3, ["\\Flagged"])
        folder = await inbox(opened)
        server.faults.switch_on("uid-missing")

        assert await folder.changes(before, 1, LARGEST) is None


async def test_a_message_that_is_longer_than_announced_is_no_message() -> None:
    async with mailbox("literal-short") as opened:
        got = await answers(await inbox(opened))

    lost = {uid: one.error for uid, one in got.items() if isinstance(one, Unfetched)}
    assert list(lost) == [3]
    assert isinstance(lost[3], Unfetchable)
    assert len(got) == 20


async def test_a_message_that_is_shorter_than_announced_takes_no_other_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conversation, "SILENCE", 0.2)
    got: dict[int, RemoteMessage | Unfetched] = {}
    async with mailbox("literal-long") as opened:
        folder = await inbox(opened)
        with pytest.raises(Unreachable) as caught:
            await collected(folder, await folder.scan(await folder.uids()), got)

    assert caught.value.data["suspects"] == [3]
    assert all(isinstance(one, RemoteMessage) for one in got.values())


async def test_a_message_that_is_listed_and_never_sent_is_not_gone() -> None:
    async with serve(messages=20, folder_count=1) as server, PROVIDER.open(login(server)) as opened:
        folder = await inbox(opened)
        items = await folder.scan([2, 3, 4])
        server.faults.switch_on("uid-missing")
        got = await collected(folder, items)

    assert {uid: type(one.error) for uid, one in got.items() if isinstance(one, Unfetched)} == dict.fromkeys(
        (2, 3, 4), Unfetchable
    )


@pytest.mark.parametrize("fault", ["bodystructure-invalid", "envelope-broken", "envelope-nil-host"])
async def test_what_is_broken_beside_a_message_does_not_harm_it(fault: str) -> None:
    async with mailbox(fault) as opened:
        got = await answers(await inbox(opened))

    assert all(isinstance(one, RemoteMessage) for one in got.values())


async def test_flags_that_were_not_told_are_unknown_and_not_empty() -> None:
    async with mailbox("no-flags-in-fetch") as opened:
        folder = await inbox(opened)
        items = await folder.scan(await folder.uids())

    assert items
    assert all(item.flags is None for item in items)


async def test_an_inbox_that_is_not_listed_is_missed() -> None:
    async with mailbox("inbox-missing") as opened:
        with pytest.raises(FolderGone):
            await inbox(opened)


async def test_a_list_that_fails_once_loses_no_folder() -> None:
    async with mailbox() as opened:
        wanted = [folder.path for folder in await opened.folders()]
    async with mailbox("list-empty") as opened:
        assert [folder.path for folder in await opened.folders()] == wanted
        assert [folder.path for folder in await opened.folders()] == wanted


async def test_a_second_list_that_is_refused_confirms_nothing() -> None:
    async with mailbox("second-list-fails") as opened:
        await opened.folders()
        with pytest.raises(ServerRefused):
            await opened.folders()


async def test_a_folder_that_vanishes_as_it_is_opened_is_gone_and_the_conversation_goes_on() -> None:
    async with mailbox("vanishing-folder") as opened:
        other = next(f for f in await opened.folders() if f.selectable and f.path != "INBOX")
        with pytest.raises((FolderGone, ServerRefused)):
            await opened.open(other)
        assert await opened.folders()


async def test_a_folder_that_refuses_to_open_does_not_end_the_conversation() -> None:
    async with mailbox("select-fails") as opened:
        for folder in await opened.folders():
            if folder.path != "INBOX" and folder.selectable:
                with pytest.raises((ServerRefused, FolderGone)):
                    await opened.open(folder)
        assert await answers(await inbox(opened))


async def test_an_id_is_sent_so_that_folders_open() -> None:
    async with mailbox("unsafe-login") as opened:
        assert (await inbox(opened)).status.messages


@pytest.mark.parametrize("fault", ["bye-in-fetch", "cut-in-literal"])
async def test_a_connection_that_breaks_in_a_fetch_yields_no_partial_message(fault: str) -> None:
    async with serve(messages=40, folder_count=2) as server, PROVIDER.open(login(server)) as opened:
        folder = await inbox(opened)
        items = await folder.scan(await folder.uids())
        whole = await collected(folder, items)
        server.faults.switch_on(fault)
        got: dict[int, RemoteMessage | Unfetched] = {}
        with pytest.raises((Unreachable, ServerRefused)) as caught:
            await collected(folder, items, got)
        suspects = set(caught.value.data["suspects"])
        assert suspects
        assert suspects <= set(whole) - set(got)
        with pytest.raises(Unreachable):
            await opened.folders()

    assert len(got) < len(whole)
    assert all(whole[uid] == one for uid, one in got.items())


async def test_sizes_that_lie_change_nothing() -> None:
    async with mailbox() as opened:
        whole = await answers(await inbox(opened))
    async with mailbox("size-lies", "unsolicited-status", "date-absurd") as opened:
        got = await answers(await inbox(opened))

    assert {u: o.content for u, o in got.items() if isinstance(o, RemoteMessage)} == {
        u: o.content for u, o in whole.items() if isinstance(o, RemoteMessage)
    }


async def test_what_a_status_leaves_out_is_unknown() -> None:
    async with mailbox("validity-missing", "uidnext-missing") as opened:
        status = (await inbox(opened)).status

    assert status.validity is None
    assert status.uid_next is None
    assert status.messages


async def test_a_modseq_that_decreases_asks_for_a_scan() -> None:
    async with mailbox("modseq-decreases") as opened:
        before = (await inbox(opened)).status
        folder = await inbox(opened)

        assert before.modseq is None or await folder.changes(before, 1, LARGEST) is None


async def test_a_server_that_falls_silent_in_mid_command_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "SILENCE", 0.1)

    async def fall_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK [CAPABILITY IMAP4rev1] hello\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(fall_silent, "127.0.0.1", 0) as server:
        settings = {"host": "127.0.0.1", "port": server.sockets[0].getsockname()[1], "security": "plain"}
        with pytest.raises(Unreachable, match="has stopped answering"):
            async with PROVIDER.open(Login("ann", settings, "right")):
                pass


async def test_leaving_a_fetch_early_ends_the_conversation_and_says_so() -> None:
    async with mailbox() as opened:
        folder = await inbox(opened)
        items = await folder.scan(await folder.uids())
        fetching = folder.fetch(items)
        await anext(fetching)
        await fetching.aclose()  # type: ignore[attr-defined]
        with pytest.raises(Unreachable):
            await folder.uids()


async def test_a_folder_is_worthless_once_another_is_open() -> None:
    async with mailbox() as opened:
        first = await inbox(opened)
        await opened.open(next(f for f in await opened.folders() if f.selectable and f.path != "INBOX"))
        with pytest.raises((Unreachable, Incomplete)):
            await first.uids()


async def test_every_piece_of_a_message_that_arrives_begins_our_patience_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conversation, "GRAIN", 0)
    patience = conversation.Patience()
    for size in (1 << 18, 1 << 22):
        with patience.spool(size) as arriving:
            async with patience.waiting():
                assert patience._limit is not None
                before = patience._limit.when()
                arriving.write(b"piece")
                after = patience._limit.when()

        assert before is not None
        assert after is not None
        assert after > before


async def test_a_piece_that_comes_too_late_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "GRAIN", 0)
    monkeypatch.setattr(conversation, "SILENCE", 0)
    patience = conversation.Patience()

    async def wait() -> None:
        async with patience.waiting():
            try:
                await asyncio.Event().wait()
            finally:
                patience.heard()

    with pytest.raises(TimeoutError):
        await wait()


@pytest.mark.parametrize("size", [1 << 18, 1 << 22])
async def test_a_large_message_is_handed_over_whole_from_memory_or_from_a_file(size: int) -> None:
    spool = Spool(conversation.Patience().spool(size), size)
    spool.file.write(b"x" * size)

    content = conversation.taken(spool)

    if isinstance(content, bytes):
        assert content == b"x" * size
    else:
        with content:
            assert content.read() == b"x" * size
    assert isinstance(content, bytes) is (size <= conversation.IN_MEMORY)
    assert spool.file.closed
