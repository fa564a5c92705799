"""Reading stored mail again, as a person calls it."""

import pytest

from .conftest import Cli, Lab

ADDRESS = "robin@lab.example"
MESSAGES = 12


@pytest.fixture
def synced(cli: Cli, lab: Lab) -> Cli:
    words = ("--server", lab("--messages", str(MESSAGES)), "--starttls", "off", "--password-file", "-")
    assert cli("connect", ADDRESS, *words, stdin="open sesame\n").status == 0
    assert cli("sync").status == 0
    return cli


def test_mail_is_read_again_when_asked_for(synced: Cli) -> None:
    [nothing] = synced("reread", "--json").json["accounts"]
    [everything] = synced("reread", "--all", "--account", ADDRESS, "--json").json["accounts"]

    assert (nothing["address"], nothing["status"], nothing["read"]) == (ADDRESS, "success", 0)
    assert (everything["read"], everything["changed"], everything["unreadable"]) == (MESSAGES, 0, 0)


@pytest.mark.slow
def test_what_was_read_again_is_told_in_a_line(synced: Cli) -> None:
    ended = synced("reread", "--all")

    assert ended.status == 0
    assert ended.out.startswith(f"{ADDRESS}: {MESSAGES} read again in ")
    assert synced("reread", "--account", "nobody@lab.example").status == 1
