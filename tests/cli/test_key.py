"""A command that has another secret key than the rest ends with one sentence, before it does anything."""

import pytest
from cli.conftest import Cli

RIGHT, WRONG, NEW = (
    {"POSTROOM_SECRET_KEY": f"a {name} key for the tests"} for name in ("right", "wrong", "new")
)
BOTH = {"POSTROOM_SECRET_KEY": f"{NEW['POSTROOM_SECRET_KEY']}, {RIGHT['POSTROOM_SECRET_KEY']}"}


@pytest.mark.parametrize(
    "words",
    [
        ("up", "--port", "0"),
        ("serve", "--port", "0"),
        ("executor",),
        ("sync",),
        ("verify", "ann@example.org"),
        ("events", "seal"),
    ],
    ids=lambda words: words[0],
)
def test_a_wrong_key_ends_a_command_that_needs_it(cli: Cli, words: tuple[str, ...]) -> None:
    assert cli("sync", **RIGHT).status == 0
    ended = cli(*words, **WRONG)

    assert (ended.status, ended.out) == (1, "")
    assert ended.err.endswith(" [vault.wrong_key]\n")
    assert "POSTROOM_SECRET_KEY" in ended.err
    assert ended.err.count("\n") == 1


def test_who_needs_no_secret_needs_no_key(cli: Cli) -> None:
    assert cli("sync", **RIGHT).status == 0

    for words in (("status",), ("search", "anything"), ("jobs", "list")):
        assert cli(*words, **WRONG).status == 0


def test_a_new_key_in_front_is_the_right_one_from_then_on(cli: Cli) -> None:
    for keys, status in ((RIGHT, 0), (BOTH, 0), (NEW, 0), (RIGHT, 1), (BOTH, 0)):
        assert cli("sync", **keys).status == status


def test_an_installation_that_lost_its_key_file_is_told_to_put_it_back(cli: Cli) -> None:
    assert cli("sync").status == 0
    file = cli.data / "secret.key"
    kept = file.read_bytes()
    file.unlink()
    assert "secret.key" in cli("sync").err

    file.write_bytes(kept)
    assert cli("sync").status == 0
