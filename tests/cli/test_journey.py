"""A person's path with a real server: connect, sync, verify, search, show, export, import."""

import mailbox
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from servers.dovecot import Dovecot

from postroom.lab.mails import mail
from postroom.sync.halt import LOOK_EVERY

from .conftest import Cli, Lab

FOLDERS = ("INBOX", "Projekte/Größe & Maß", "請求書")
EACH = 20
MANY = 3000  # mails, which no machine imports between two looks


@pytest.fixture
def user(dovecot: Dovecot) -> str:
    """A mailbox with mail in folders of several scripts."""
    user = dovecot.user("ann")
    for number, folder in enumerate(FOLDERS):
        dovecot.append(user, folder, [mail(3, number * EACH + n) for n in range(EACH)])
    special = b"From: Zo\xc3\xab <zoe@post.example>\r\nSubject: the unicorn\r\n\r\nAn odd word: xylophone\r\n"
    dovecot.append(user, "INBOX", [special])
    return user


@pytest.fixture
def connected(cli: Cli, dovecot: Dovecot, user: str) -> str:
    address = f"{user}@postroom.example"
    server = f"imap://{dovecot.host}:{dovecot.port}"
    done = cli(
        *("connect", address, "--server", server, "--ca-file", dovecot.ca_file, "--username", user),
        *("--password-file", "-", "--daily-bytes", "20000000", "--json"),
        stdin=f"{dovecot.password}\n",
    )
    assert done.status == 0
    assert done.json["estimate"]["messages"] == EACH * len(FOLDERS) + 1
    assert done.json["estimate"]["bytes"] > 10_000
    assert done.json["found_by"] is None
    return address


def bodies(messages: Iterable[bytes]) -> Counter[bytes]:
    return Counter(messages)


def test_a_mailbox_is_copied_and_proven_equal(cli: Cli, connected: str) -> None:
    synced = cli("sync", "--json").json["accounts"]
    verified = cli("verify", connected, "--json")
    status = cli("status", connected, "--json").json["accounts"][0]
    again = cli("sync", connected, "--json").json["accounts"]

    total = EACH * len(FOLDERS) + 1
    assert [(entry["address"], entry["status"], entry["added"]) for entry in synced] == [
        (connected, "success", total)
    ]
    assert {"messages", "removed", "flags_changed", "bytes", "seconds"} <= synced[0].keys()
    assert verified.status == 0
    assert {folder["path"] for folder in verified.json["folders"]} >= set(FOLDERS)
    assert all(
        folder["server"] == folder["stored"] and not folder["missing"] + folder["extra"]
        for folder in verified.json["folders"]
    )
    assert status["messages"] == total
    assert 10_000 < status["bytes_today"] < status["daily_bytes"] == 20_000_000
    assert status["throttled_until"] is None
    assert "of 20.0 MB downloaded" in cli("status", connected).out
    assert status["last_sync_status"] == "success"
    assert (again[0]["added"], again[0]["removed"]) == (0, 0)


@pytest.mark.slow
def test_exported_bytes_are_those_of_the_server_and_come_back(
    cli: Cli, connected: str, tmp_path: Path
) -> None:
    address = connected
    cli("sync")
    as_maildir = cli("export", address, tmp_path / "out", "--json").json
    cli("export", address, tmp_path / "out-mbox", "--format", "mbox")
    written = sorted(path for path in (tmp_path / "out").rglob("cur/*"))
    imported = cli("import", tmp_path / "out", "--as", "copy@postroom.example", "--json").json["accounts"]
    again = cli("import", tmp_path / "out-mbox", "--as", "mbox@postroom.example", "--json").json["accounts"]
    cli("export", "mbox@postroom.example", tmp_path / "third", "--format", "maildir")

    sizes = sum(path.stat().st_size for path in written)
    contents = bodies(path.read_bytes() for path in written)
    assert (as_maildir["messages"], as_maildir["bytes"]) == (len(written), sizes)
    assert imported[0]["added"] == again[0]["added"] == len(written)
    assert bodies(path.read_bytes() for path in (tmp_path / "third").rglob("cur/*")) == contents
    assert mailbox.Maildir(tmp_path / "out").list_folders() != []
    refused = cli("export", address, tmp_path / "out", "--json")
    assert (refused.status, refused.json["error"]["code"]) == (1, "cli.not_empty")


def test_what_was_copied_can_be_found_and_shown(cli: Cli, connected: str) -> None:
    cli("sync", connected)
    found = cli("search", "xylophon*", "subject:unicorn", "--json").json
    message = found["results"][0]
    shown = cli("show", message["id"], "--json").json
    as_text = cli("show", message["id"]).out
    raw = cli("show", message["id"], "--raw").out

    assert found["total"] == 1
    assert message["subject"] == "the unicorn"
    assert message["from"] == {"name": "Zoë", "address": "zoe@post.example"}
    assert message["folders"] == ["INBOX"]
    assert "<mark>xylophone</mark>" in message["snippet"]
    assert shown["text"].strip() == "An odd word: xylophone"
    assert "Subject: the unicorn" in as_text
    assert raw.endswith("xylophone\n")
    assert cli("show", message["id"], "--html").status == 1
    assert "xylophone" in cli("search", "xylophone").out
    assert cli("search", "nosuchwordanywhere").out == "Nothing found.\n"


def test_a_mailbox_is_connected_once(cli: Cli, connected: str) -> None:
    done = cli("connect", connected, "--server", "imap://a.example", "--json", POSTROOM_PASSWORD="x")

    assert done.status == 1
    assert done.json["error"]["code"] == "accounts.already_connected"


@pytest.mark.slow
def test_a_difference_is_found_and_mended(cli: Cli, connected: str, dovecot: Dovecot, user: str) -> None:
    cli("sync")
    dovecot.append(user, "INBOX", [mail(3, 900)])
    before = cli("verify", connected, "--json")
    cli("sync")
    after = cli("verify", connected)

    assert before.status == 1
    assert sum(folder["missing"] for folder in before.json["folders"]) == 1
    assert after.status == 0
    assert "equal to the server" in after.out


@pytest.mark.slow
def test_one_account_in_trouble_leaves_the_others_alone(cli: Cli, connected: str, lab: Lab) -> None:
    server = lab("--messages", "1")
    cli(
        *("connect", "robin@lab.example", "--server", server, "--starttls", "off"),
        POSTROOM_PASSWORD="open sesame",
    )
    lab.stop()
    done = cli("sync", "--json")
    outcomes = {entry["address"]: entry for entry in done.json["accounts"]}

    assert done.status == 1
    assert outcomes[connected]["status"] == "success"
    assert outcomes["robin@lab.example"]["status"] == "failed"
    assert outcomes["robin@lab.example"]["error"]["code"] == "providers.port_closed"


@pytest.mark.slow
def test_an_import_may_take_longer_than_a_moment(cli: Cli, tmp_path: Path) -> None:
    box = mailbox.mbox(tmp_path / "box.mbox")
    for number in range(MANY):
        box.add(b"From: zoe@post.example\r\nSubject: hello\r\n\r\n%d\r\n" % number)
    box.close()

    [imported] = cli("import", tmp_path / "box.mbox", "--json").json["accounts"]

    assert imported["seconds"] > LOOK_EVERY.total_seconds()  # so that somebody looked for a pause meanwhile
    assert (imported["status"], imported["added"]) == ("success", MANY)
