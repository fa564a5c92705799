"""What every provider promises when it cannot: an error of the port's tree, with a sentence and no secret."""

from collections.abc import Callable

import pytest
from providers.conformance.reading import contents, simple
from providers.conformance.subject import Can, Subject

from postroom.errors import Invalid, NeedsOwner, PostroomError, TryLater
from postroom.providers.model import FolderGone, RemoteFolder

SECRET = "s3cret-w0rd"


async def test_a_place_without_a_mailbox_is_an_error_that_says_so(subject: Subject) -> None:
    with pytest.raises((TryLater, NeedsOwner, Invalid)) as caught:
        async with subject.provider.open(subject.unreachable()):
            pass

    assert caught.value.code.startswith("providers.")
    assert caught.value.message.endswith((".", "?"))


async def test_a_wrong_secret_needs_the_owner_and_is_in_no_message(
    subject: Subject, needs: Callable[..., None]
) -> None:
    needs(Can.REFUSE)
    login = subject.login(secret=SECRET)

    with pytest.raises(NeedsOwner) as caught:
        async with subject.provider.open(login):
            pass

    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in f"{error!r} {error} {getattr(error, 'data', '')}"
        error = error.__cause__ or error.__context__
    assert SECRET not in repr(login)


@pytest.mark.parametrize("name", [b"No such folder", b"", b"..", b"/etc", b"a\0b", b'"', b"x\r\ny", b"\xff"])
async def test_a_folder_that_was_never_there_is_gone_or_refused(subject: Subject, name: bytes) -> None:
    await subject.deliver("INBOX", simple(1))

    async with subject.provider.open(subject.login()) as mailbox:
        with pytest.raises(PostroomError) as caught:
            await mailbox.open(RemoteFolder(name, name.decode("utf-8", "replace"), "/"))

    assert name != b"No such folder" or isinstance(caught.value, FolderGone)
    assert await contents(subject, "INBOX") == [simple(1)]


async def test_an_error_inside_the_conversation_comes_out_as_it_is(subject: Subject) -> None:
    async def fails() -> None:
        async with subject.provider.open(subject.login()) as mailbox:
            await mailbox.folders()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fails()

    async with subject.provider.open(subject.login()) as mailbox:
        assert await mailbox.folders()
