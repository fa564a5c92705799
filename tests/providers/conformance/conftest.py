"""Every provider that the suite is run for, one line each."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from providers.conformance.files import MaildirSubject, MboxSubject
from providers.conformance.imap import LabSubject, dovecot_subject
from providers.conformance.subject import Can, Subject
from servers.dovecot import Dovecot

from postroom.lab.server import serve

LABS: dict[str, tuple[Can, ...]] = {  # what the lab server offers, and what it then cannot do
    "qresync": (Can.NAME_MAIL, Can.NAME_FOLDER),
    "condstore": (Can.NAME_MAIL, Can.NAME_FOLDER, Can.TELL_REMOVED),
    "plain": (Can.NAME_MAIL, Can.NAME_FOLDER, Can.TELL_REMOVED, Can.TELL_FLAGS),
    "notify": (Can.NAME_MAIL, Can.NAME_FOLDER),
    "objectid": (),
    "gmail": (Can.NAME_FOLDER,),
}
KINDS = (*LABS, "dovecot", "maildir", "mbox")


@pytest.fixture(params=KINDS)
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    """An empty mailbox of each kind."""
    async with AsyncExitStack() as stack:
        match request.param:
            case "dovecot":
                server: Dovecot = request.getfixturevalue("dovecot")
                yield await stack.enter_async_context(dovecot_subject(server))
            case "maildir":
                yield MaildirSubject(tmp_path / "mail")
            case "mbox":
                yield MboxSubject(tmp_path / "mail")
            case offer:
                serving = serve(messages=0, folder_count=1, offers=[offer])
                yield LabSubject(await stack.enter_async_context(serving), LABS[offer])


@pytest.fixture
def needs(subject: Subject) -> Callable[..., None]:
    """Skips a test where the store cannot do what it is about."""

    def check(*wanted: Can) -> None:
        if missing := sorted(set(wanted) - subject.can):
            pytest.skip(f"this store cannot {', '.join(missing)}")

    return check
