"""What every provider promises of folders: each listed once, by a name that leads back to it."""

from collections.abc import Callable

import pytest
from providers.conformance.reading import bytes_by_uid, contents, named, opened, simple
from providers.conformance.subject import Can, Subject

from postroom.providers.model import FolderGone, FolderRole, OpenFolder

NAMES = (
    *("Größe", "請求書", "Заметки", "ملاحظات", "Ελληνικά", "हिन्दी", "한국어", "עברית", "📮 Post", "e\u0301"),
    *("a b", "a&b", "it's", "100%", "(x)", "[Gmail]", "tilde~", "INBOXES", "inbox2", "&-", "&AOQ-", "x=y"),
    *("Case", "case", " leading", "trailing ", "a.b", ".hidden", "n" * 60, "a,b;c", "#hash", "!"),
)


async def test_every_folder_is_listed_once_and_opens_by_the_name_in_the_list(subject: Subject) -> None:
    for number, name in enumerate(NAMES):
        await subject.create(name)
        await subject.deliver(name, simple(number))

    async with subject.provider.open(subject.login()) as mailbox:
        listed = await mailbox.folders()
        for number, name in enumerate(NAMES):
            folder = await mailbox.open(await named(mailbox, name))
            assert folder.folder.path == name
            assert await held(folder) == [simple(number)]

    assert len({folder.name for folder in listed}) == len(listed)
    assert {*NAMES, "INBOX"} <= {folder.path for folder in listed}


async def held(folder: OpenFolder) -> list[bytes]:
    return list((await bytes_by_uid(folder)).values())


async def test_levels_are_kept_apart_by_the_delimiter(subject: Subject) -> None:
    await subject.create("Lists/Python/日本")
    await subject.deliver("Lists/Python/日本", simple(1))

    async with subject.provider.open(subject.login()) as mailbox:
        folder = await named(mailbox, "Lists/Python/日本")

    assert folder.delimiter == "/"
    assert folder.selectable
    assert await contents(subject, "Lists/Python/日本") == [simple(1)]


async def test_a_listing_in_a_new_conversation_gives_the_same_names(subject: Subject) -> None:
    for name in NAMES:
        await subject.create(name)
    listings = []
    for _ in range(2):
        async with subject.provider.open(subject.login()) as mailbox:
            listings.append({folder.name: folder.path for folder in await mailbox.folders()})

    assert listings[0] == listings[1]


async def test_one_folder_is_the_inbox_and_no_role_is_given_twice(subject: Subject) -> None:
    await subject.create("Sent Mail")
    await subject.create("Work/Inbox")

    async with subject.provider.open(subject.login()) as mailbox:
        listed = await mailbox.folders()

    roles = [folder.role for folder in listed if folder.role is not None]
    assert [folder.path for folder in listed if folder.role is FolderRole.INBOX] == ["INBOX"]
    assert len(set(roles)) == len(roles)


async def test_a_name_that_only_leads_to_folders_is_never_opened_as_one(
    subject: Subject, needs: Callable[..., None]
) -> None:
    needs(Can.LEVEL)
    await subject.create("Above/Below")

    async with subject.provider.open(subject.login()) as mailbox:
        listed = {folder.path: folder for folder in await mailbox.folders()}
        if (above := listed.get("Above")) is not None:
            assert not above.selectable
            with pytest.raises(FolderGone):
                await mailbox.open(above)


async def test_what_the_list_says_of_a_folder_is_what_opening_it_proves(subject: Subject) -> None:
    for path, count in (("Some", 3), ("None", 0)):
        await subject.create(path)
        await subject.fill(path, [simple(number) for number in range(count)])

    async with subject.provider.open(subject.login()) as mailbox:
        for path, count in (("Some", 3), ("None", 0)):
            listed = await named(mailbox, path)
            proven = (await mailbox.open(listed)).status
            assert proven.messages == count
            if (told := listed.status) is not None:
                assert told.messages in {None, count}
                assert told.validity in {None, proven.validity}
                assert told.uid_next in {None, proven.uid_next}


async def test_a_folder_that_is_gone_says_so_and_the_others_go_on(subject: Subject) -> None:
    await subject.create("Going")
    await subject.create("Staying")
    await subject.deliver("Going", simple(1))
    await subject.deliver("Staying", simple(2))

    async with subject.provider.open(subject.login()) as mailbox:
        going, staying = await named(mailbox, "Going"), await named(mailbox, "Staying")
        await subject.drop("Going")
        with pytest.raises(FolderGone):
            await mailbox.open(going)
        assert await held(await mailbox.open(staying)) == [simple(2)]

    async with subject.provider.open(subject.login()) as mailbox:
        assert "Going" not in {folder.path for folder in await mailbox.folders() if folder.selectable}


async def test_a_folder_that_is_renamed_keeps_its_numbers(
    subject: Subject, needs: Callable[..., None]
) -> None:
    needs(Can.RENAME)
    await subject.create("Before")
    await subject.fill("Before", [simple(number) for number in range(5)])
    async with opened(subject, "Before") as folder:
        before, was = folder.status, await bytes_by_uid(folder)

    await subject.rename("Before", "Später")

    async with opened(subject, "Später") as folder:
        assert folder.status.validity == before.validity
        assert await bytes_by_uid(folder) == was


async def test_the_estimate_counts_every_message(subject: Subject) -> None:
    for path in ("One", "Two"):
        await subject.create(path)
        await subject.fill(path, [simple(number, 1000) for number in range(20)])

    async with subject.provider.open(subject.login()) as mailbox:
        chosen = [await named(mailbox, "One"), await named(mailbox, "Two")]
        estimate = await subject.provider.estimate(mailbox, chosen)

    assert (estimate.folders, estimate.messages) == (2, 40)
    assert estimate.bytes is None or 40_000 <= estimate.bytes <= 60_000
