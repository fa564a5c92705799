"""Lists, scans, changes and fetches from servers that say what servers have been seen to say."""

import re

import pytest
from providers.imap.fake import PROVIDER, Answer, speaking

from postroom.imap.uids import LARGEST
from postroom.providers.imap.fetch import MOST_BYTES, MOST_MESSAGES, windows
from postroom.providers.model import (
    FolderGone,
    FolderRole,
    FolderStatus,
    Incomplete,
    Mailbox,
    OpenFolder,
    RemoteFolder,
    RemoteItem,
    RemoteMessage,
    ServerRefused,
    Unfetchable,
    Unfetched,
)

BEFORE = FolderStatus(messages=3, validity=7, uid_next=10, modseq=40)


async def inbox(mailbox: Mailbox) -> OpenFolder:
    return await mailbox.open((await mailbox.folders())[0])


async def fetched(folder: OpenFolder, *uids: int) -> dict[int, RemoteMessage | Unfetched]:
    return {one.uid: one async for one in folder.fetch([RemoteItem(uid, frozenset()) for uid in uids])}


def asked(command: str) -> list[int]:
    """The UIDs in a UID FETCH."""
    ranges = [part.split(":") for part in command.split(" ")[2].split(",")]
    return [uid for ends in ranges for uid in range(int(ends[0]), int(ends[-1]) + 1)]


def nothing_but_all(uids: str) -> Answer:
    """Searches find nothing, and the one for everything these."""
    return lambda command: f"* SEARCH {'' if ' UID ' in command[3:] else uids}\nOK"


async def test_a_list_is_read_however_it_is_written() -> None:
    listed = "\n".join(
        [
            '* LIST () "." inbox',
            '* LIST () "." INBOX',
            "* LIST (\\HasNoChildren) NIL Flat",
            '* LIST (\\NonExistent) "." "Gone"',
            '* LIST (\\Noselect \\HasChildren) "." "Parent"',
            '* LIST () "." "Parent.&2D3e-bad&"',
            '* LIST () "." ""',
            '* LIST () "." "../../etc"',
            '* LIST () "." "INBOX.Gesendet"',
            "OK listed",
        ]
    )
    async with speaking({"LIST": listed}) as (_, mailbox):
        folders = {folder.name: folder for folder in await mailbox.folders()}
        with pytest.raises(FolderGone):
            await mailbox.open(folders[b"Parent"])

    names = [b"INBOX", b"Flat", b"Gone", b"Parent", b"Parent.&2D3e-bad&", b"../../etc", b"INBOX.Gesendet"]
    assert list(folders) == names
    assert folders[b"Flat"].delimiter is None
    assert not folders[b"Gone"].selectable
    assert folders[b"INBOX"].role is FolderRole.INBOX
    assert folders[b"INBOX.Gesendet"].role is FolderRole.SENT


async def test_no_name_has_a_nul_for_people() -> None:
    async with speaking({"LIST": '* LIST () "\0" "a&AAA-b"\nOK listed'}) as (_, mailbox):
        folder = next(one for one in await mailbox.folders() if one.name == b"a&AAA-b")

    assert (folder.path, folder.delimiter) == ("a\ufffdb", "\ufffd")


@pytest.mark.parametrize("number", [1 << 63, (1 << 64) - 1, 10**30])
async def test_a_number_that_is_too_large_was_not_said(number: int) -> None:
    said = f"* OK [UIDVALIDITY {number}] v\n* OK [UIDNEXT {number}] n\n* OK [HIGHESTMODSEQ {number}] m"
    status = f"* STATUS INBOX (MESSAGES {number} UIDNEXT {number} UIDVALIDITY {number})\nOK"
    async with speaking({"EXAMINE": f"* 3 EXISTS\n{said}\nOK", "STATUS": status}) as (_, mailbox):
        (folder,) = await mailbox.folders()
        assert folder.status == FolderStatus()
        assert (await mailbox.open(folder)).status == FolderStatus(messages=3)


async def test_what_cannot_be_a_flag_is_none() -> None:
    answers: dict[str, Answer] = {"UID FETCH": '* 1 FETCH (UID 4 FLAGS (\\Seen "a b" "" x\0y $Later))\nOK'}
    async with speaking(answers) as (_, mailbox):
        (item,) = await (await inbox(mailbox)).scan([4])

    assert item == RemoteItem(4, frozenset({"\\Seen", "$Later"}))


@pytest.mark.parametrize("id", ["a\0b", "x" * 256])
async def test_what_cannot_be_an_id_is_none(id: str) -> None:
    answers: dict[str, Answer] = {"UID FETCH": f"* 1 FETCH (UID 4 FLAGS () EMAILID ({id}))\nOK"}
    async with speaking(answers, capabilities="OBJECTID") as (_, mailbox):
        (item,) = await (await inbox(mailbox)).scan([4])

    assert item == RemoteItem(4, frozenset())


@pytest.mark.parametrize("refusal", ["BAD no such option", "NO [SERVERBUG] internal", "OK nothing"])
async def test_a_server_that_fails_at_extended_lists_gets_the_plain_one(refusal: str) -> None:
    def plain_only(command: str) -> str:
        return refusal if "RETURN" in command else '* LIST () "/" INBOX\n* LIST () "/" "a"\nOK'

    answers: dict[str, Answer] = {"LIST": plain_only}
    async with speaking(answers, capabilities="LIST-EXTENDED LIST-STATUS SPECIAL-USE") as (fake, mailbox):
        assert len(await mailbox.folders()) == 2

    assert [c for c in fake.said if c.startswith("LIST")][-1] == 'LIST "" "*"'


async def test_a_list_with_nothing_in_it_is_never_believed() -> None:
    async with speaking({"LIST": "OK nothing"}) as (_, mailbox):
        with pytest.raises(Incomplete, match="lists no folder"):
            await mailbox.folders()


async def test_folders_are_only_examined() -> None:
    async with speaking() as (fake, mailbox):
        await inbox(mailbox)

    assert 'EXAMINE "INBOX"' in fake.said
    assert not any(command.startswith("SELECT") for command in fake.said)


async def test_a_number_of_billions_in_a_search_costs_nothing_and_is_not_believed() -> None:
    answers: dict[str, Answer] = {
        "UID SEARCH": lambda c: (
            "* ESEARCH UID ALL 1:4294967295\nOK" if "RETURN" in c else "* SEARCH 2 4 9\nOK"
        )
    }
    async with speaking(answers, capabilities="ESEARCH") as (_, mailbox):
        assert list(await (await inbox(mailbox)).uids()) == [2, 4, 9]


async def test_a_listing_that_never_fits_the_count_is_an_error() -> None:
    answers: dict[str, Answer] = {"UID SEARCH": "* SEARCH 2 4\nOK", "UID FETCH": "* 1 FETCH (UID 2)\nOK"}
    async with speaking(answers) as (_, mailbox):
        folder = await inbox(mailbox)
        with pytest.raises(Incomplete, match="holds 3 messages and lists 2"):
            await folder.uids()


async def test_where_search_is_refused_the_uids_are_fetched() -> None:
    lines = "* 1 FETCH (UID 4)\n* 2 FETCH (UID 5)\n* 3 FETCH (UID 8)\nOK"
    async with speaking({"UID SEARCH": "BAD", "UID FETCH": lines}) as (_, mailbox):
        assert list(await (await inbox(mailbox)).uids()) == [4, 5, 8]


async def test_a_folder_with_more_messages_than_a_usual_line_can_name_is_listed() -> None:
    every = range(1_000_000, 1_300_000)
    answers: dict[str, Answer] = {
        "EXAMINE": f"* {len(every)} EXISTS\nOK",
        "UID SEARCH": f"* SEARCH {' '.join(map(str, every))}\nOK",
    }
    async with speaking(answers) as (_, mailbox):
        assert list(await (await inbox(mailbox)).uids()) == list(every)


async def test_an_empty_folder_is_not_searched() -> None:
    async with speaking({"EXAMINE": "* 0 EXISTS\nOK"}) as (fake, mailbox):
        assert list(await (await inbox(mailbox)).uids()) == []

    assert not any(command.startswith("UID") for command in fake.said)


async def test_a_folder_of_unknown_size_is_not_opened() -> None:
    async with speaking({"EXAMINE": "OK [READ-ONLY] open"}) as (_, mailbox):
        with pytest.raises(Incomplete, match="without saying how much"):
            await inbox(mailbox)


async def test_a_scan_that_is_refused_is_halved_until_one_message_is_left() -> None:
    def scan(command: str) -> str:
        uids = asked(command)
        if 5 in uids:
            return "NO [SERVERBUG] broken index"
        return "\n".join([f"* 1 FETCH (UID {u} FLAGS (\\Seen) RFC822.SIZE 9)" for u in uids] + ["OK"])

    async with speaking({"UID FETCH": scan}) as (_, mailbox):
        items = await (await inbox(mailbox)).scan(range(1, 10))

    assert [item.uid for item in items] == list(range(1, 10))
    assert [item.uid for item in items if item.flags is None] == [5]


async def test_an_answer_in_parts_and_news_of_others_make_one_item() -> None:
    lines = (
        "* 1 FETCH (UID 2 FLAGS (\\Seen \\Recent))\n"
        "* 3 FETCH (FLAGS (\\Deleted))\n* 2 FETCH (UID 9 FLAGS ())\n"
        "* 1 FETCH (UID 2 RFC822.SIZE 9.3736e+06)\n* 1 FETCH (UID 2 RFC822.SIZE 70)\nOK"
    )
    async with speaking({"UID FETCH": lines}) as (_, mailbox):
        assert await (await inbox(mailbox)).scan([2]) == [RemoteItem(2, frozenset({"\\Seen"}), 70)]


async def test_changes_are_asked_from_the_cursor_and_removals_believed_only_with_qresync() -> None:
    answers: dict[str, Answer] = {
        "ENABLE": lambda c: f"* ENABLED {c.split()[1]}\nOK",
        "UID FETCH": "* VANISHED (EARLIER) 4:5\n* 1 FETCH (UID 2 FLAGS (\\Flagged) MODSEQ (45))\nOK",
    }
    async with speaking(answers, capabilities="ENABLE CONDSTORE QRESYNC") as (fake, mailbox):
        changes = await (await inbox(mailbox)).changes(BEFORE, 1, LARGEST)
    assert changes is not None
    assert (changes.flags, changes.removed) == ({2: frozenset({"\\Flagged"})}, frozenset({4, 5}))
    assert "UID FETCH 1:4294967295 (UID FLAGS) (CHANGEDSINCE 40 VANISHED)" in fake.said

    async with speaking(answers, capabilities="ENABLE CONDSTORE") as (fake, mailbox):
        changes = await (await inbox(mailbox)).changes(BEFORE, 1, LARGEST)
    assert changes is not None
    assert changes.removed is None
    assert "UID FETCH 1:4294967295 (UID FLAGS) (CHANGEDSINCE 40)" in fake.said


@pytest.mark.parametrize(
    "since",
    [
        FolderStatus(validity=7),
        FolderStatus(validity=7, modseq=0),
        FolderStatus(validity=7, modseq=51),
        FolderStatus(validity=8, modseq=40),
        FolderStatus(modseq=40),
    ],
)
async def test_a_cursor_that_proves_nothing_is_not_asked_with(since: FolderStatus) -> None:
    async with speaking(capabilities="CONDSTORE") as (fake, mailbox):
        assert await (await inbox(mailbox)).changes(since, 1, LARGEST) is None

    assert not any("CHANGEDSINCE" in command for command in fake.said)


@pytest.mark.parametrize(
    "answer",
    [
        "BAD CHANGEDSINCE unknown",
        "* VANISHED (EARLIER) 1:4294967295\nOK",
        "* 1 FETCH (UID 2 MODSEQ (45))\nOK",
    ],
)
async def test_changes_that_cannot_be_told_ask_for_a_scan(answer: str) -> None:
    answers: dict[str, Answer] = {"ENABLE": "* ENABLED QRESYNC\nOK", "UID FETCH": answer}
    async with speaking(answers, capabilities="ENABLE CONDSTORE QRESYNC") as (_, mailbox):
        assert await (await inbox(mailbox)).changes(BEFORE, 1, LARGEST) is None


def body(uid: int, text: str) -> str:
    return f"* 1 FETCH (UID {uid} BODY[] {{{len(text)}}}\r\n{text})"


async def test_every_poison_message_stands_alone_and_the_rest_arrives_whatever_their_number() -> None:
    poison = {3, 50, 51, 149}

    def fetch(command: str) -> str:
        uids = asked(command)
        if poison & set(uids):
            return "NO [UNAVAILABLE] try later"
        return "\n".join([body(uid, f"mail {uid}") for uid in uids] + ["OK"])

    async with speaking({"UID FETCH": fetch}) as (fake, mailbox):
        got = await fetched(await inbox(mailbox), *range(1, 151))

    assert {uid for uid, one in got.items() if isinstance(one, Unfetched)} == poison
    assert all(isinstance(one.error, Unfetchable) for one in got.values() if isinstance(one, Unfetched))
    assert all(one.content == b"mail %d" % uid for uid, one in got.items() if isinstance(one, RemoteMessage))
    assert len(fake.said) < 80


async def test_a_server_that_refuses_everything_is_not_taken_for_a_mailbox_full_of_poison() -> None:
    async with speaking({"UID FETCH": "NO [UNAVAILABLE] try later"}) as (fake, mailbox):
        folder = await inbox(mailbox)
        with pytest.raises(ServerRefused):
            await fetched(folder, *range(1, 1001))

    assert len(fake.said) < 100


async def test_only_the_answer_that_carries_the_uid_asked_is_taken() -> None:
    wrong = "\n".join([body(7, "not asked"), "* 1 FETCH (BODY[] {6}\r\nno uid)", body(2, "asked"), "OK"])
    async with speaking({"UID FETCH": wrong, "UID SEARCH": nothing_but_all("1 2 9")}) as (_, mailbox):
        got = await fetched(await inbox(mailbox), 2, 3)

    two = got[2]
    assert isinstance(two, RemoteMessage)
    assert two.content == b"asked"
    assert got[3] == Unfetched(3, None)


async def test_a_body_that_is_passed_over_is_not_gone_because_a_search_finds_too_little() -> None:
    async with speaking({"UID FETCH": "OK", "UID SEARCH": nothing_but_all("1 2 9")}) as (_, mailbox):
        got = await fetched(await inbox(mailbox), 2, 3)

    assert got[3] == Unfetched(3, None)
    assert isinstance(got[2], Unfetched)
    assert isinstance(got[2].error, Unfetchable)


async def test_what_is_passed_over_is_gone_only_by_a_complete_listing() -> None:
    async with speaking({"UID FETCH": "OK", "UID SEARCH": "* SEARCH\nOK"}) as (_, mailbox):
        folder = await inbox(mailbox)
        assert folder.status.messages
        with pytest.raises(Incomplete):
            await folder.scan([3])


async def test_an_empty_body_is_asked_for_once_more_before_it_is_given_up() -> None:
    asks: list[str] = []

    def fetch(command: str) -> str:
        asks.append(command)
        return body(2, "" if len(asks) == 1 else "here it is") + "\nOK"

    async with speaking({"UID FETCH": fetch}) as (_, mailbox):
        got = await fetched(await inbox(mailbox), 2)

    assert isinstance(got[2], RemoteMessage)


async def test_a_message_that_truly_is_empty_is_a_message() -> None:
    async with speaking({"UID FETCH": body(2, "") + "\nOK"}) as (_, mailbox):
        folder = await inbox(mailbox)
        (got,) = [one async for one in folder.fetch([RemoteItem(2, frozenset(), 0)])]

    assert isinstance(got, RemoteMessage)
    assert got.content == b""


def test_windows_are_bounded_by_bytes_and_by_number_and_keep_the_order() -> None:
    items = [RemoteItem(uid, None, size) for uid, size in enumerate([10] * 250 + [MOST_BYTES] * 3 + [10], 1)]
    made = list(windows(items))

    assert [item for window in made for item in window.items] == items
    for window in made:
        assert len(window.items) <= MOST_MESSAGES
        assert len(window.items) == 1 or sum(item.size or 0 for item in window.items) <= MOST_BYTES


async def test_a_fetch_never_asks_for_more_than_peeks() -> None:
    async with speaking({"UID FETCH": body(2, "mail") + "\nOK"}) as (fake, mailbox):
        await fetched(await inbox(mailbox), 2)

    (command,) = [c for c in fake.said if c.startswith("UID FETCH")]
    assert re.fullmatch(r"UID FETCH 2 \(UID BODY\.PEEK\[\]\)", command)


async def test_an_estimate_without_sizes_in_status_looks_at_some_messages() -> None:
    answers: dict[str, Answer] = {
        "STATUS": "* STATUS INBOX (MESSAGES 3 UIDNEXT 10 UIDVALIDITY 7)\nOK",
        "UID FETCH": "* 1 FETCH (UID 2 RFC822.SIZE 100)\n* 2 FETCH (UID 4 RFC822.SIZE 300)\nOK",
    }
    async with speaking(answers) as (_, mailbox):
        estimate = await PROVIDER.estimate(mailbox, await mailbox.folders())

    assert (estimate.messages, estimate.bytes) == (3, 600)


async def test_a_folder_known_by_its_raw_name_is_opened_by_it() -> None:
    odd = RemoteFolder(b'&2D3e- "quoted"\\', "odd")
    async with speaking() as (fake, mailbox):
        await mailbox.open(odd)

    assert 'EXAMINE "&2D3e- \\"quoted\\"\\\\"' in fake.said


async def test_a_shared_mailbox_is_asked_for_by_login() -> None:
    answers: dict[str, Answer] = {"AUTHENTICATE": "NO no such user"}
    async with speaking(answers, capabilities="AUTH=PLAIN SASL-IR", username="ann@example.org\\team") as (
        fake,
        _,
    ):
        pass

    assert any(command.startswith("LOGIN") for command in fake.said)


async def test_we_say_who_we_are_where_a_server_wants_to_know() -> None:
    async with speaking({"ID": "* ID NIL\nOK"}, capabilities="ID") as (fake, _):
        pass

    assert any(command.startswith('ID ("name" "postroom" "version"') for command in fake.said)


async def test_what_helps_is_enabled_by_the_way() -> None:
    answers: dict[str, Answer] = {"ENABLE": "* ENABLED QRESYNC\nOK"}
    async with speaking(answers, capabilities="ENABLE CONDSTORE QRESYNC") as (fake, mailbox):
        at_login = list(fake.said)
        assert (await inbox(mailbox)).status.messages == 3
        after = fake.said[len(at_login) :]

    assert not any(command.startswith("ENABLE") for command in at_login)
    assert [command.split()[0] for command in after[:2]] == ["ENABLE", "LIST"]


async def test_extensions_that_are_refused_are_done_without() -> None:
    async with speaking({"ID": "BAD", "ENABLE": "BAD"}, capabilities="ID ENABLE QRESYNC") as (_, mailbox):
        assert (await inbox(mailbox)).status.messages == 3
