"""What a person sees of mail that could not be copied, and how they have it tried again."""

from uuid import uuid4

import pytest

from .conftest import Cli, Lab


@pytest.fixture
def address(cli: Cli, lab: Lab) -> str:
    """A mailbox whose server will not hand out one message."""
    server = lab("--messages", "5", "--fault", "unavailable-uid")
    address = "robin@lab.example"
    words = ("--server", server, "--starttls", "off", "--folders", "INBOX", "--password-file", "-")
    assert cli("connect", address, *words, stdin="open sesame\n").status == 0
    assert cli("sync").status == 0
    return address


def test_a_parked_message_is_listed_explained_and_tried_again(cli: Cli, address: str) -> None:
    [entry] = cli("parked", "list", "--json").json["parked"]
    listed = cli("parked", "list", "--account", address)
    shown = cli("parked", "show", entry["id"])
    status = cli("status", address)
    retried = cli("parked", "retry", entry["id"])
    again = cli("sync", "--json").json["accounts"][0]
    after = cli("parked", "show", entry["id"], "--json").json

    assert (entry["kind"], entry["uid"], entry["attempts"]) == ("message", 3, 1)
    assert listed.out.startswith(entry["id"])
    assert entry["code"] in listed.out
    for told in (address, "INBOX", "message 3", "never handed out", f"postroom parked retry {entry['id']}"):
        assert told in shown.out
    assert "parked     1" in status.out
    assert retried.out.startswith("1 tried again")
    assert again["parked"] == 1
    assert after["attempts"] == 2


@pytest.mark.slow
def test_everything_is_tried_again_by_one_call(cli: Cli, address: str) -> None:
    assert len(cli("parked", "retry", "--all", "--json").json["retried"]) == 1
    assert len(cli("parked", "retry", "--account", address, "--json").json["retried"]) == 1
    assert cli("parked", "retry").status == 2
    assert cli("parked", "retry", "--all", "--account", address).status == 2


@pytest.mark.slow
def test_what_is_not_parked_is_said_to_be_so(cli: Cli) -> None:
    assert cli("parked", "list").out == "Nothing is parked.\n"
    assert cli("parked", "retry", "--all").out == "Nothing is parked.\n"
    for name in (str(uuid4()), "nonsense"):
        for command in ("show", "retry"):
            ended = cli("parked", command, name)
            assert (ended.status, ended.err.rstrip()[-23:]) == (1, "[sync.parked_not_found]")
