"""What every provider promises that can tell of changes: nothing is missed, and a hint is never late."""

from collections.abc import Callable

from providers.conformance.reading import named, simple
from providers.conformance.subject import Can, Subject
from providers.told import Ear

from postroom.providers.model import Mailbox, Means, Watching

INBOX = b"INBOX"


async def watched(mailbox: Mailbox, ear: Ear, path: str = "INBOX") -> Watching:
    watching = await mailbox.watch([await named(mailbox, path)], ear)
    assert watching is not None
    return watching


async def test_who_cannot_tell_says_so(subject: Subject) -> None:
    async with subject.provider.open(subject.login()) as mailbox:
        watching = await mailbox.watch([await named(mailbox, "INBOX")], Ear())

    assert (watching is not None) == (Can.TELL in subject.can)


async def test_new_mail_changed_flags_and_removals_are_told(
    subject: Subject, needs: Callable[..., None]
) -> None:
    needs(Can.TELL)
    ear = Ear()
    async with subject.provider.open(subject.login()) as mailbox:
        watching = await watched(mailbox, ear)
        await subject.deliver("INBOX", simple(1))
        new = await ear.changed(INBOX)
        watching.looked()
        await subject.flag("INBOX", simple(1), ["\\Flagged"])
        await ear.changed(INBOX)
        watching.looked()
        await subject.remove("INBOX", simple(1))
        await ear.changed(INBOX)

    assert new.messages in {1, None}


async def test_what_was_there_before_a_watch_shows_in_its_statuses(
    subject: Subject, needs: Callable[..., None]
) -> None:
    needs(Can.TELL)
    await subject.deliver("INBOX", simple(1))
    async with subject.provider.open(subject.login()) as mailbox:
        inbox = await mailbox.open(await named(mailbox, "INBOX"))
        await subject.deliver("INBOX", simple(2))
        watching = await watched(mailbox, Ear())
        status = watching.statuses[INBOX]

    assert inbox.status.messages == 1
    assert status.messages == 2
    assert status.validity == inbox.status.validity
    assert status.uid_next == (inbox.status.uid_next or 0) + 1


async def test_a_renewed_watch_goes_on_telling(subject: Subject, needs: Callable[..., None]) -> None:
    needs(Can.TELL)
    ear = Ear()
    async with subject.provider.open(subject.login()) as mailbox:
        watching = await watched(mailbox, ear)
        for number in range(3):
            await watching.renew()
            watching.looked()
            await subject.deliver("INBOX", simple(number))
            await ear.changed(INBOX)


async def test_any_other_call_ends_a_watch_and_works(subject: Subject, needs: Callable[..., None]) -> None:
    needs(Can.TELL)
    ear = Ear()
    async with subject.provider.open(subject.login()) as mailbox:
        await watched(mailbox, ear)
        await mailbox.ping()
        await watched(mailbox, ear)
        inbox = await mailbox.open(await named(mailbox, "INBOX"))
        await watched(mailbox, ear)
        assert await mailbox.rest()
        await watched(mailbox, ear)
        await subject.deliver("INBOX", simple(1))
        await ear.changed(INBOX)

    assert inbox.status.messages == 0
    assert ear.heard == []


async def test_what_one_conversation_is_told_another_is_told_as_well(
    subject: Subject, needs: Callable[..., None]
) -> None:
    needs(Can.TELL)
    ears = [Ear(), Ear(), Ear()]
    async with (
        subject.provider.open(subject.login()) as one,
        subject.provider.open(subject.login()) as two,
        subject.provider.open(subject.login()) as three,
    ):
        for mailbox, ear in zip((one, two, three), ears, strict=True):
            await watched(mailbox, ear)
        await subject.deliver("INBOX", simple(1))
        for ear in ears:
            await ear.changed(INBOX)


async def test_a_watch_says_of_which_folders_it_tells(subject: Subject, needs: Callable[..., None]) -> None:
    needs(Can.TELL)
    await subject.create("Other")
    ear = Ear()
    async with subject.provider.open(subject.login()) as mailbox:
        folders = sorted(await mailbox.folders(), key=lambda folder: folder.path != "INBOX")
        watching = await mailbox.watch(folders, ear)
        assert watching is not None
        if watching.means is Means.IDLE:
            assert watching.folders == frozenset({INBOX})
            return
        assert watching.folders is None
        await subject.deliver("Other", simple(1))
        await ear.changed(b"Other")
        watching.looked()
        await subject.create("New")
        await ear.changed(None)
        watching.looked()
        await subject.deliver("New", simple(1))
        await ear.changed(b"New")
