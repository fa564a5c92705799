"""The real command killed with -9 at many ages, and the copy that comes of it in the end."""

import subprocess
from collections import Counter
from pathlib import Path

import pytest
from cli.conftest import Cli
from servers.dovecot import Dovecot

from postroom.lab.mails import mail

FOLDERS = (
    *("INBOX", "Work", "Größe", "請求書", "a b", "x/y", "x/z", "Sent", "Trash", "Archive"),
    *("it's", "100%"),
)
EACH = 60
AGES = [0.3 * step for step in range(2, 12)]


@pytest.fixture
def user(dovecot: Dovecot) -> str:
    """Folders in which some mail lies twice, and some in all of them."""
    user = dovecot.user("killed")
    for number, folder in enumerate(FOLDERS):
        own = [mail(11, number * EACH + n) for n in range(EACH)]
        dovecot.append(user, folder, [*own, own[0], mail(11, 1)])
    return user


@pytest.mark.slow
def test_a_sync_killed_at_any_age_is_finished_by_the_next_one_and_nothing_is_there_twice(
    dovecot: Dovecot, user: str, tmp_path: Path
) -> None:
    cli, address = Cli(tmp_path / "data"), f"{user}@postroom.example"
    server = ("--server", f"imap://{dovecot.host}:{dovecot.port}", "--ca-file", dovecot.ca_file)
    cli("connect", address, *server, "--username", user, "--password-file", "-", stdin=dovecot.password)
    for age in AGES:
        with cli.running("sync", "--json") as process:
            try:
                process.wait(age)
            except subprocess.TimeoutExpired:
                continue  # leaving kills it
            break

    last = cli("sync", "--json")
    verified = cli("verify", address, "--json")
    status = cli("status", address, "--json").json["accounts"][0]
    cli("export", address, tmp_path / "out")

    assert (last.status, verified.status) == (0, 0), last.err + verified.err
    theirs = contents(dovecot.home / "mail" / user)
    assert contents(tmp_path / "out") == theirs
    # In twelve folders lies a mail of INBOX, so that eleven placements are no messages of their own.
    total = len(FOLDERS) * (EACH + 2)
    assert (sum(theirs.values()), status["messages"]) == (total, total - len(FOLDERS) + 1)


def contents(folder: Path) -> Counter[bytes]:
    """The bytes of every mail in Maildirs, with the line ends that IMAP gives them."""
    files = (path for path in folder.rglob("*") if path.parent.name in {"cur", "new"} and path.is_file())
    return Counter(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for path in files)
