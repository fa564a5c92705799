"""The client against a real server: every command that we send, and what it is for."""

import ssl
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from postroom.imap import aio, commands, names
from postroom.imap.aio import Session, StartTls
from postroom.imap.commands import Known
from postroom.imap.connection import Completed, State
from postroom.imap.errors import AuthRefused, CommandFailed
from postroom.imap.framing import Limits, Spool
from postroom.imap.responses import (
    AppendUid,
    Code,
    CopyUid,
    ESearch,
    Fetch,
    FolderStatus,
    Listed,
    Namespaces,
    ServerId,
    Status,
    Vanished,
)
from postroom.imap.uids import UidSet

pytest.importorskip("servers.dovecot")
if TYPE_CHECKING:
    from servers.dovecot import Dovecot

MAILS = [b"Subject: %d\r\n\r\n" % number + b"body of a mail\r\n" * (number * 40) for number in range(1, 31)]
RAW = b"Subject: draft\r\n\r\nhello\r\n"


@pytest.fixture
def user(dovecot: "Dovecot") -> str:
    name = dovecot.user("ann")
    dovecot.append(name, "INBOX", MAILS, flags=[["\\Seen"]] * len(MAILS))
    dovecot.append(name, "Entwürfe/日本", [RAW])
    return name


@pytest.fixture
async def session(dovecot: "Dovecot", user: str) -> AsyncIterator[Session]:
    async with aio.connect(dovecot.host, dovecot.port) as session:
        await session.log_in(user, dovecot.password)
        yield session


async def test_a_wrong_password_leaves_the_session_usable(dovecot: "Dovecot", user: str) -> None:
    async with aio.connect(dovecot.host, dovecot.port) as session:
        with pytest.raises(AuthRefused):
            await session.log_in(user, "wrong")
        await session.log_in(user, dovecot.password)

        assert session.state is State.AUTHENTICATED


@pytest.mark.parametrize("mechanism", [None, "SCRAM-SHA-256"])
async def test_dovecot_and_we_prove_it_to_each_other(dovecot: "Dovecot", mechanism: str | None) -> None:
    async with aio.connect(dovecot.host, dovecot.port) as session:
        assert "AUTH=SCRAM-SHA-256" in session.capabilities
        with pytest.raises(AuthRefused):
            await session.log_in("ann", "wrong", mechanism=mechanism)
        await session.log_in("ann", dovecot.password, mechanism=mechanism)

        assert session.state is State.AUTHENTICATED
    assert "method=SCRAM-SHA-256" in dovecot.log()


@pytest.mark.parametrize("starttls", [StartTls.OFF, StartTls.REQUIRE])
async def test_both_ways_of_tls(dovecot: "Dovecot", user: str, starttls: StartTls) -> None:
    context = ssl.create_default_context(cafile=dovecot.ca_file)
    port = dovecot.tls_port if starttls is StartTls.OFF else dovecot.port
    async with aio.connect("127.0.0.1", port, tls=context, starttls=starttls) as session:
        await session.log_in(user, dovecot.password)

        assert session.encrypted
        assert "STARTTLS" not in session.capabilities


async def test_who_and_where_we_are(session: Session) -> None:
    said = (await session.run(commands.identify(name="postroom"))).responses
    spaces = (await session.run(commands.namespace())).responses

    assert [one.fields["name"] for one in said if isinstance(one, ServerId)] == ["Dovecot"]
    assert any(isinstance(one, Namespaces) and one.personal[0].delimiter == b"/" for one in spaces)


async def test_folders_are_listed_with_their_status_under_their_raw_names(session: Session) -> None:
    done = await session.run(commands.list_folders(special_use=True, status=["MESSAGES", "UIDVALIDITY"]))
    listed = {names.decode(one.name): one.name for one in done.responses if isinstance(one, Listed)}
    counts = {one.name: one.items["MESSAGES"] for one in done.responses if isinstance(one, FolderStatus)}

    assert listed["Entwürfe/日本"] == names.encode("Entwürfe/日本")
    assert counts[listed["Entwürfe/日本"]] == 1
    assert counts[b"INBOX"] == len(MAILS)


async def test_every_message_arrives_exact_however_many_are_under_way(session: Session) -> None:
    await session.run(commands.select(b"INBOX", read_only=True))
    windows = [commands.uid_fetch(UidSet.of(range(at, at + 3)), ["BODY.PEEK[]"]) for at in range(1, 31, 3)]
    events = [event async for event in session.pipeline(windows, window=5)]

    assert [one.body for one in events if isinstance(one, Fetch)] == MAILS
    assert [one.failure for one in events if isinstance(one, Completed)] == [None] * 10
    assert session.selected is not None
    assert (session.selected.exists, session.selected.read_only) == (30, True)


async def test_a_large_message_is_a_spool(dovecot: "Dovecot", user: str) -> None:
    large = b"Subject: large\r\n\r\n" + b"0123456789abcde\r\n" * 200_000
    dovecot.append(user, "Large", [large])
    async with aio.connect(dovecot.host, dovecot.port, limits=Limits(spool_over=1 << 20)) as session:
        await session.log_in(user, dovecot.password)
        await session.run(commands.select(b"Large"))
        (said,) = [one async for one in session.stream(commands.uid_fetch("1", ["BODY.PEEK[]"]))]

    assert isinstance(said, Fetch)
    assert isinstance(said.body, Spool)
    assert said.body.read() == large


async def test_flags_sizes_and_dates(session: Session) -> None:
    await session.run(commands.select(b"INBOX"))
    one = UidSet.of([1])
    await session.run(commands.uid_store(one, "+", ["\\Flagged", "$Label"]))
    await session.run(commands.uid_store(one, "-", ["\\Seen"]))
    done = await session.run(commands.uid_fetch(one, ["FLAGS", "RFC822.SIZE", "INTERNALDATE", "MODSEQ"]))
    (said,) = (one for one in done.responses if isinstance(one, Fetch))

    assert said.flags is not None
    assert said.flags - {"\\Recent"} == {"\\Flagged", "$Label"}
    assert said.size == len(MAILS[0])
    assert said.internal_date is not None
    assert said.internal_date.tzinfo is UTC
    assert said.modseq


async def test_structures_and_headers_are_read(session: Session) -> None:
    await session.run(commands.select(b"INBOX"))
    items = ["ENVELOPE", "BODYSTRUCTURE", "BODY.PEEK[HEADER.FIELDS (SUBJECT DATE)]", "BODY.PEEK[TEXT]<0.4>"]
    done = await session.run(commands.uid_fetch("1", items))
    (said,) = (one for one in done.responses if isinstance(one, Fetch))

    assert said.defects == ()
    assert said.attributes["BODY[HEADER.FIELDS (SUBJECT DATE)]"] == b"Subject: 1\r\n\r\n"
    assert said.attributes["BODY[TEXT]<0>"] == b"body"
    assert isinstance(said.attributes["BODYSTRUCTURE"], list)


async def test_what_changed_is_asked_by_modseq(session: Session) -> None:
    await session.run(commands.enable("QRESYNC"))
    await session.run(commands.select(b"INBOX", condstore=True))
    assert session.selected is not None
    known = session.selected.highest_modseq
    assert known
    await session.run(commands.uid_store(UidSet.of([3]), "+", ["\\Flagged"]))
    await session.run(commands.uid_store(UidSet.of([5]), "+", ["\\Deleted"]))
    await session.run(commands.uid_expunge(UidSet.of([5])))
    changed = await session.run(commands.uid_fetch("1:*", ["FLAGS"], changed_since=known, vanished=True))
    validity = session.selected.validity
    assert validity
    again = await session.run(commands.select(b"INBOX", known=Known(validity, known)))

    for done in (changed, again):
        assert {one.uid for one in done.responses if isinstance(one, Fetch)} == {3}
        assert [one.uids for one in done.responses if isinstance(one, Vanished) and one.earlier] == [
            UidSet.of([5])
        ]
    assert session.selected.exists == 29
    assert not session.selected.renumbered


async def test_searches_by_range_and_by_text(session: Session) -> None:
    await session.run(commands.select(b"INBOX"))
    every = await session.run(commands.uid_search("1:*", returning=["ALL", "COUNT"]))
    some = await session.run(commands.uid_search("SUBJECT", b"17", returning=["ALL"]))
    none = await session.run(commands.uid_search("SUBJECT", "日本".encode(), returning=["COUNT"]))

    (found,) = (one for one in every.responses if isinstance(one, ESearch))
    assert (found.all, found.count) == (UidSet.of(range(1, 31)), 30)
    assert [one.all for one in some.responses if isinstance(one, ESearch)] == [UidSet.of([17])]
    assert [one.count for one in none.responses if isinstance(one, ESearch)] == [0]


async def test_messages_are_appended_copied_and_moved_and_we_know_where_to(session: Session) -> None:
    target = names.encode("Größe & mehr")
    when = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
    await session.run(commands.create(target))
    await session.run(commands.subscribe(target))
    appended = await session.run(commands.append(target, RAW, flags=["\\Draft"], received=when))
    await session.run(commands.select(b"INBOX"))
    copied = await session.run(commands.uid_copy(UidSet.of([1, 2]), target))
    moved = await session.run(commands.uid_move(UidSet.of([7]), target))

    assert _code(appended.status) == ("APPENDUID", {1})
    assert _code(copied.status) == ("COPYUID", {2, 3})
    codes = [_code(one) for one in (*moved.responses, moved.status) if isinstance(one, Status) and one.code]
    assert ("COPYUID", {4}) in codes
    await session.run(commands.select(target))
    done = await session.run(commands.uid_fetch("1", ["FLAGS", "INTERNALDATE", "BODY.PEEK[]"]))
    (said,) = (one for one in done.responses if isinstance(one, Fetch))
    assert (said.body, said.internal_date) == (RAW, when)


async def test_a_folder_is_renamed_closed_and_deleted(session: Session) -> None:
    await session.run(commands.create(b"a b"))
    await session.run(commands.rename(b"a b", b'c"\\d'))
    await session.run(commands.select(b'c"\\d'))
    await session.run(commands.unselect())
    assert session.state is State.AUTHENTICATED
    await session.run(commands.delete(b'c"\\d'))
    with pytest.raises(CommandFailed) as caught:
        await session.run(commands.select(b'c"\\d'))

    assert caught.value.kind == "NO"
    assert session.usable


def _code(status: Status) -> tuple[str, set[int]]:
    """The code's name, and the UIDs at the destination."""
    match status.code:
        case Code("APPENDUID", AppendUid(uids=uids)):
            return "APPENDUID", set(uids)
        case Code("COPYUID", CopyUid() as copied):
            return "COPYUID", set(copied.pairs().values())
    return "", set()


async def bodies(session: Session) -> dict[int, bytes]:
    found = {}
    async for one in session.stream(commands.uid_fetch(UidSet.of(range(1, 31)), ["BODY.PEEK[]"])):
        if isinstance(one, Fetch) and one.uid is not None:
            assert isinstance(one.body, bytes)
            found[one.uid] = one.body
    return found


@pytest.mark.parametrize("how", ["clear", "tls", "starttls"])
async def test_a_real_server_says_the_same_compressed(dovecot: "Dovecot", how: str) -> None:
    user = dovecot.user()
    dovecot.append(user, "INBOX", MAILS)
    port = dovecot.tls_port if how == "tls" else dovecot.port
    context = ssl.create_default_context(cafile=dovecot.ca_file) if how != "clear" else None
    starttls = StartTls.REQUIRE if how == "starttls" else StartTls.OFF
    async with aio.connect("127.0.0.1", port, tls=context, starttls=starttls) as session:
        await session.log_in(user, dovecot.password)
        await session.run(commands.select(b"INBOX"))
        before = await bodies(session)
        await session.compress()
        after = await bodies(session)
        await session.run(commands.append(b"INBOX", MAILS[0]))
        assert session.compressed

    assert before == after == dict(enumerate(MAILS, 1))


async def test_many_commands_are_under_way_in_a_compressed_session(dovecot: "Dovecot") -> None:
    user = dovecot.user()
    async with aio.connect(dovecot.host, dovecot.port) as session:
        await session.log_in(user, dovecot.password)
        await session.compress()
        async with aclosing(session.pipeline([commands.noop()] * 50, window=10)) as events:
            ended = [event async for event in events]
    assert len(ended) == 50
