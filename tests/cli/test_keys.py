"""`postroom keys`."""

import mailbox
import stat
from pathlib import Path

from .conftest import Cli


def test_the_first_key_is_made_by_itself_and_only_its_owner_can_read_it(cli: Cli) -> None:
    listed = cli("keys", "list", "--json").json["keys"]

    file = cli.data / "api.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [key["name"] for key in listed] == ["first key"]
    assert file.read_text().startswith(listed[0]["start"])


def test_a_key_is_shown_once_and_can_be_revoked(cli: Cli) -> None:
    made = cli("keys", "create", "reader", "--scope", "read", "--days", "30", "--json").json
    revoked = cli("keys", "revoke", made["start"], "--json").json
    again = cli("keys", "list")

    assert made["key"].startswith(made["start"])
    assert made["scopes"] == ["read"]
    assert revoked["id"] == made["id"]
    assert revoked["revoked_at"] is not None
    assert made["key"] not in again.out
    assert "revoked" in again.out


def test_a_key_can_be_limited_to_accounts_by_their_address(cli: Cli, tmp_path: Path) -> None:
    box = mailbox.mbox(tmp_path / "box")
    box.add(b"Subject: hello\r\n\r\nyou\r\n")
    box.close()
    assert cli("import", tmp_path / "box").status == 0
    made = cli("keys", "create", "crm", "--account", "box@FILES.invalid", "--json").json
    listed = cli("keys", "list")
    unknown = cli("keys", "create", "crm", "--account", "who@example.org", "--json")
    nameless = cli("keys", "create", "--account", "box@files.invalid")

    assert len(made["accounts"]) == 1
    assert "of 1 account  " in listed.out
    assert [key["accounts"] for key in cli("keys", "list", "--json").json["keys"]] == [None, made["accounts"]]
    assert (unknown.status, unknown.json["error"]["code"]) == (1, "accounts.not_found")
    assert nameless.status == 2


def test_create_without_a_name_remakes_the_first_key(cli: Cli) -> None:
    cli("keys", "list")
    before = (cli.data / "api.key").read_text()
    made = cli("keys", "create")

    assert (cli.data / "api.key").read_text() == made.out
    assert made.out != before


def test_a_key_that_is_not_there_cannot_be_revoked(cli: Cli) -> None:
    done = cli("keys", "revoke", "pr_nothing", "--json")

    assert done.status == 1
    assert done.json["error"]["code"] == "people.key_not_found"
