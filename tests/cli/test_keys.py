"""`postroom keys`."""

import stat

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
