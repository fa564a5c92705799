"""What every provider promises of changes since a cursor: the truth, or that it cannot tell."""

from collections.abc import Callable

from providers.conformance.reading import bytes_by_uid, everything, fetched, opened, simple, simples
from providers.conformance.subject import Can, Subject

from postroom.imap.uids import LARGEST
from postroom.providers.model import FolderStatus


async def test_nothing_happened_and_nothing_is_told(subject: Subject) -> None:
    await subject.fill("INBOX", simples(5))
    async with opened(subject) as folder:
        since = folder.status

    async with opened(subject) as folder:
        assert folder.status.validity == since.validity
        changes = await folder.changes(since, 1, LARGEST)
        items = {item.uid: item.flags for item in await everything(folder)}

    if changes is not None:
        assert not changes.removed
        assert all(items[uid] == flags for uid, flags in changes.flags.items())


async def test_changed_flags_are_told_or_nothing_is(subject: Subject, needs: Callable[..., None]) -> None:
    needs(Can.FLAG, Can.NUMBER)
    await subject.fill("INBOX", simples(8))
    async with opened(subject) as folder:
        since = folder.status
    await subject.flag("INBOX", simple(3), ["\\Seen"])
    await subject.flag("INBOX", simple(0), ["\\Flagged"])
    await subject.flag("INBOX", simple(0), [])

    async with opened(subject) as folder:
        uids = list(await folder.uids())
        changes = await folder.changes(since, 1, LARGEST)

    assert (changes is not None) == (Can.TELL_FLAGS in subject.can)
    if changes is not None:
        assert changes.flags[uids[3]] == frozenset({"\\Seen"})
        assert all(not flags for uid, flags in changes.flags.items() if uid != uids[3])


async def test_removals_are_named_all_or_not_at_all(subject: Subject, needs: Callable[..., None]) -> None:
    needs(Can.NUMBER)
    await subject.fill("INBOX", simples(8))
    async with opened(subject) as folder:
        since, uids = folder.status, list(await folder.uids())
    await subject.remove("INBOX", simple(2))
    await subject.remove("INBOX", simple(7))

    async with opened(subject) as folder:
        changes = await folder.changes(since, 1, LARGEST)
        left = list(await folder.uids())

    assert left == [uid for uid in uids if uid not in {uids[2], uids[7]}]
    named = changes is not None and changes.removed is not None
    assert named == (Can.TELL_REMOVED in subject.can)
    if changes is not None and changes.removed is not None:
        assert changes.removed == {uids[2], uids[7]}
        assert changes.flags.keys() <= set(left)


async def test_changes_are_told_within_the_bounds_that_were_asked_for(
    subject: Subject, needs: Callable[..., None]
) -> None:
    needs(Can.TELL_FLAGS)
    await subject.fill("INBOX", simples(9))
    async with opened(subject) as folder:
        since = folder.status
    for number in (1, 4, 8):
        await subject.flag("INBOX", simple(number), ["\\Seen"])
    await subject.remove("INBOX", simple(0))
    await subject.remove("INBOX", simple(5))

    async with opened(subject) as folder:
        uids = list(await folder.uids())
        of = {raw: uid for uid, raw in (await bytes_by_uid(folder)).items()}
        changes = await folder.changes(since, of[simple(2)], of[simple(6)])

    assert changes is not None
    assert {uid for uid, flags in changes.flags.items() if flags} == {of[simple(4)]}
    assert changes.flags.keys() <= set(uids)
    assert changes.removed is None or changes.removed == {of[simple(4)] + 1}


async def test_new_mail_is_never_missing_from_the_listing_beside_the_changes(
    subject: Subject, needs: Callable[..., None]
) -> None:
    needs(Can.NUMBER, Can.FLAG)
    await subject.fill("INBOX", simples(3))
    async with opened(subject) as folder:
        since, before = folder.status, list(await folder.uids())
    await subject.deliver("INBOX", simple(3), flags=["\\Seen"])

    async with opened(subject) as folder:
        changes = await folder.changes(since, 1, LARGEST)
        (new,) = set(await folder.uids()) - set(before)
        flags = {item.uid: item.flags for item in await everything(folder)}

    assert flags[new] == frozenset({"\\Seen"})
    if changes is not None:
        assert all(flags[uid] == told for uid, told in changes.flags.items())


async def test_a_cursor_that_cannot_be_of_this_folder_tells_nothing(subject: Subject) -> None:
    await subject.fill("INBOX", simples(3))

    async with opened(subject) as folder:
        now = folder.status
        assert now.validity is not None
        for wrong in (
            FolderStatus(),
            FolderStatus(messages=3, validity=now.validity),
            FolderStatus(messages=3, validity=now.validity + 1, modseq=now.modseq or 1),
            FolderStatus(messages=3, validity=now.validity, modseq=1 << 60),
        ):
            assert await folder.changes(wrong, 1, LARGEST) is None


async def test_a_message_that_moved_is_the_same_elsewhere_and_nowhere_else(
    subject: Subject, needs: Callable[..., None]
) -> None:
    needs(Can.FLAG)
    await subject.create("Target")
    await subject.deliver("INBOX", simple(1), flags=["\\Seen"])
    await subject.deliver("INBOX", simple(2), flags=["\\Flagged"])

    await subject.move("INBOX", simple(2), "Target")

    async with opened(subject) as folder:
        (item,) = await everything(folder)
        assert item.flags == frozenset({"\\Seen"})
    async with opened(subject, "Target") as folder:
        (item,) = await everything(folder)
        (answer,) = (await fetched(folder, [item])).values()
    assert item.flags == frozenset({"\\Flagged"})
    assert isinstance(answer, tuple)
    assert answer[1] == simple(2)


async def test_the_servers_own_id_names_a_content_wherever_it_lies(
    subject: Subject, needs: Callable[..., None]
) -> None:
    needs(Can.NAME_MAIL)
    await subject.create("Target")
    await subject.fill("INBOX", [simple(1), simple(2), simple(1)])
    async with opened(subject) as folder:
        before = [item.object_id for item in await everything(folder)]

    await subject.move("INBOX", simple(2), "Target")

    async with opened(subject, "Target") as folder:
        (moved,) = await everything(folder)
    assert None not in before
    assert before[0] != before[1] != before[2]
    assert moved.object_id == before[1]


async def test_the_servers_own_id_names_a_folder_whatever_it_is_called(
    subject: Subject, needs: Callable[..., None]
) -> None:
    needs(Can.NAME_FOLDER, Can.RENAME)
    await subject.create("Before")
    await subject.create("Beside")
    async with opened(subject, "Before") as folder:
        before = folder.status.object_id
    async with opened(subject, "Beside") as folder:
        beside = folder.status.object_id

    await subject.rename("Before", "After")
    await subject.create("Before")

    async with opened(subject, "After") as folder:
        after = folder.status.object_id
    async with opened(subject, "Before") as folder:
        made_again = folder.status.object_id
    assert before is not None
    assert after == before
    assert len({before, beside, made_again}) == 3
