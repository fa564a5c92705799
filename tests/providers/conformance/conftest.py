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

KINDS = ("lab", "dovecot", "maildir", "mbox")


@pytest.fixture(params=KINDS)
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    """An empty mailbox of each kind."""
    async with AsyncExitStack() as stack:
        match request.param:
            case "dovecot":
                server: Dovecot = request.getfixturevalue("dovecot")
                yield await stack.enter_async_context(dovecot_subject(server))
            case "lab":
                lab = await stack.enter_async_context(serve(messages=0, folder_count=1))
                yield LabSubject(lab)
            case "maildir":
                yield MaildirSubject(tmp_path / "mail")
            case "mbox":
                yield MboxSubject(tmp_path / "mail")


@pytest.fixture
def needs(subject: Subject) -> Callable[..., None]:
    """Skips a test where the store cannot do what it is about."""

    def check(*wanted: Can) -> None:
        if missing := sorted(set(wanted) - subject.can):
            pytest.skip(f"this store cannot {', '.join(missing)}")

    return check
