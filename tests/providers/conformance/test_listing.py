"""What every provider promises of a folder's numbers: a listing is complete, or it is an error."""

import random
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from providers.conformance.reading import bytes_by_uid, everything, fetched, named, opened, simple, simples
from providers.conformance.subject import Can, Subject

from postroom.errors import PostroomError
from postroom.providers.model import Incomplete

MANY = 2500
THEN = datetime(2024, 2, 29, 12, 0, 5, tzinfo=UTC)


async def test_an_empty_folder_is_empty_and_no_error(subject: Subject) -> None:
    await subject.create("Empty")

    async with opened(subject, "Empty") as folder:
        assert folder.status.messages == 0
        assert list(await folder.uids()) == []
        assert list(await folder.scan([])) == []
        assert list(await folder.scan([1, 2, 3])) == []
        assert [answer async for answer in folder.fetch([])] == []


async def test_a_listing_is_complete_and_ascending(subject: Subject) -> None:
    await subject.fill("INBOX", simples(30))
    await subject.remove("INBOX", simple(7))
    await subject.remove("INBOX", simple(29))

    async with opened(subject) as folder:
        uids = list(await folder.uids())
        status = folder.status

    assert len(uids) == status.messages == 28
    assert uids == sorted(set(uids))
    assert uids[0] > 0
    assert status.uid_next is None or status.uid_next > uids[-1]


async def test_a_scan_describes_what_is_asked_and_leaves_out_what_is_not_there(subject: Subject) -> None:
    await subject.fill("INBOX", simples(10))

    async with opened(subject) as folder:
        uids = list(await folder.uids())
        asked = [uids[8], uids[1], max(uids) + 100, uids[5]]
        items = await folder.scan(asked)

    assert sorted(item.uid for item in items) == sorted(set(asked) & set(uids))
    assert len({item.uid for item in items}) == len(items)


async def test_a_scan_tells_flags_sizes_and_dates(subject: Subject, needs: Callable[..., None]) -> None:
    needs(Can.FLAG, Can.SIZE)
    for number, flags in enumerate([(), ("\\Seen",), ("\\Seen", "\\Flagged"), ("\\Answered", "\\Draft")]):
        await subject.deliver("INBOX", simple(number, number * 100), flags=flags, received=THEN)

    async with opened(subject) as folder:
        items = await everything(folder)

    assert [item.flags for item in items] == [
        frozenset(),
        frozenset({"\\Seen"}),
        frozenset({"\\Seen", "\\Flagged"}),
        frozenset({"\\Answered", "\\Draft"}),
    ]
    assert [item.size for item in items] == [len(simple(n, n * 100)) for n in range(4)]
    assert {item.received_at for item in items} == {THEN}


async def test_flags_that_nobody_heard_of_are_told_as_they_are(
    subject: Subject, needs: Callable[..., None]
) -> None:
    needs(Can.KEYWORD)
    flags = frozenset({"$Forwarded", "Later", "\\Seen", "a-b_c.d"})
    await subject.deliver("INBOX", simple(1), flags=flags)

    async with opened(subject) as folder:
        assert [item.flags for item in await everything(folder)] == [flags]


async def test_recent_mail_is_found_and_old_mail_is_not(subject: Subject) -> None:
    for number, age in enumerate([400, 200, 3, 0]):
        await subject.deliver("INBOX", simple(number), received=THEN - timedelta(days=age))

    async with opened(subject) as folder:
        uids = list(await folder.uids())
        since = set(await folder.received_since((THEN - timedelta(days=10)).date()))

    assert since == set(uids[2:])


async def test_many_messages_are_listed_and_described_completely(subject: Subject) -> None:
    await subject.fill("INBOX", simples(MANY))

    async with opened(subject) as folder:
        uids = list(await folder.uids())
        items = list(await folder.scan(uids))
        raws = await bytes_by_uid(folder)

    assert len(uids) == len(items) == MANY
    assert sorted(raws) == uids
    assert sorted(raws.values()) == sorted(simples(MANY))


async def test_numbers_last_while_mail_comes_and_goes(subject: Subject, needs: Callable[..., None]) -> None:
    needs(Can.NUMBER)
    await subject.fill("INBOX", simples(6))
    async with opened(subject) as folder:
        status, before = folder.status, await bytes_by_uid(folder)

    await subject.remove("INBOX", simple(5))
    await subject.remove("INBOX", simple(2))
    await subject.deliver("INBOX", simple(6))

    async with opened(subject) as folder:
        after = await bytes_by_uid(folder)
        assert folder.status.validity == status.validity
    new = {uid: raw for uid, raw in after.items() if raw == simple(6)}
    assert after == {uid: raw for uid, raw in before.items() if raw not in {simple(5), simple(2)}} | new
    assert min(new) > max(before)


@pytest.mark.parametrize("seed", range(3))
async def test_under_one_validity_a_number_names_the_same_bytes_for_ever(subject: Subject, seed: int) -> None:
    dice, named_bytes, made = random.Random(seed), dict[tuple[int, int], bytes](), 0
    for _ in range(8):
        for _ in range(dice.randrange(4)):
            await subject.deliver("INBOX", simple(made))
            made += 1
        if there := sorted(await subject.held("INBOX")):
            await subject.remove("INBOX", dice.choice(there))
        async with opened(subject) as folder:
            assert folder.status.validity is not None
            for uid, raw in (await bytes_by_uid(folder)).items():
                assert named_bytes.setdefault((folder.status.validity, uid), raw) == raw


async def test_what_others_do_meanwhile_is_in_a_listing_or_makes_it_an_error(
    subject: Subject, needs: Callable[..., None]
) -> None:
    needs(Can.NOTICE)
    await subject.fill("INBOX", simples(20))
    dice, made, complete = random.Random(1), 20, 0
    async with opened(subject) as folder:
        for _ in range(10):
            before = await subject.held("INBOX")
            await subject.deliver("INBOX", simple(made))
            made += 1
            await subject.remove("INBOX", dice.choice(sorted(before)))
            try:
                uids = await folder.uids()
            except Incomplete:
                continue
            assert len(uids) == len(await subject.held("INBOX"))
            complete += 1

    assert complete > 0


async def test_a_folder_that_another_one_was_opened_after_tells_nothing_wrong(subject: Subject) -> None:
    await subject.create("Other")
    await subject.fill("INBOX", simples(5))
    await subject.deliver("Other", b"Subject: of the other\r\n\r\n")

    async with subject.provider.open(subject.login()) as mailbox:
        first = await mailbox.open(await named(mailbox, "INBOX"))
        uids = list(await first.uids())
        items = await first.scan(uids)
        second = await mailbox.open(await named(mailbox, "Other"))
        for ask in (first.uids(), first.scan(uids), first.received_since(THEN.date())):
            try:
                answer = await ask
            except PostroomError:
                continue  # worthless, and says so
            assert len(answer) == len(uids)
        try:
            raws = [answer async for answer in first.fetch(items)]
        except PostroomError:
            raws = []
        assert len(raws) in {0, len(uids)}
        assert list((await bytes_by_uid(second)).values()) == [b"Subject: of the other\r\n\r\n"]


async def test_a_folder_deleted_while_it_is_open_never_looks_empty(subject: Subject) -> None:
    await subject.create("Going")
    await subject.fill("Going", simples(5))

    async with subject.provider.open(subject.login()) as mailbox:
        folder = await mailbox.open(await named(mailbox, "Going"))
        items = await everything(folder)
        await subject.drop("Going")
        with suppress(PostroomError):
            assert len(await folder.uids()) == 5
        with suppress(PostroomError):
            assert set(await folder.scan([item.uid for item in items])) <= set(items)
        with suppress(PostroomError):
            await fetched(folder, items)
