"""`postroom sql`."""

from .conftest import Cli


def test_a_login_is_made_shown_once_and_ended(cli: Cli) -> None:
    made = cli("sql", "grant", "--json").json
    again = cli("sql", "grant")
    ended = cli("sql", "revoke")

    assert made["role"].startswith("postroom_reader_")
    assert made["url"].startswith(f"postgresql://{made['role']}:")
    assert made["statements"] == []
    assert again.out.startswith(f"postgresql://{made['role']}:")
    assert again.out.strip() != made["url"]
    assert (again.err, ended.status) == ("", 0)
    assert cli("sql", "revoke", "--json").json == {"statements": []}


def test_a_tenant_that_is_not_there_has_no_login(cli: Cli) -> None:
    done = cli("sql", "grant", "nobody", "--json")

    assert (done.status, done.json["error"]["code"]) == (1, "people.tenant_not_found")
