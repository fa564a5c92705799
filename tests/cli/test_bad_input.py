"""Whatever is wrong out there: one sentence, a code of its own, status 1, nothing stored, no secret shown."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from servers.dovecot import Dovecot

from .conftest import Cli, Ended, Lab, slowly

ADDRESS = "ann@postroom.example"
SECRET = "a secret nobody must see"


def connect(cli: Cli, *options: str | Path, address: str = ADDRESS, password: str = SECRET) -> Ended:
    done = cli("connect", address, *options, "--json", POSTROOM_PASSWORD=password)
    assert password not in done.out + done.err
    assert done.err.count("\n") == 1
    return done


def refused(cli: Cli, done: Ended, code: str) -> None:
    assert done.status == 1
    assert done.json["error"]["code"] == code
    assert done.json["error"]["message"] in done.err
    assert asyncio.run(_accounts(cli.options["POSTROOM_DATABASE_URL"])) == 0


async def _accounts(dsn: str) -> int:
    conn = await asyncpg.connect(dsn)
    try:
        found: int = await conn.fetchval("SELECT count(*) FROM postroom.accounts_account")
        return found
    finally:
        await conn.close()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is taken and on which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_a_wrong_password(cli: Cli, dovecot: Dovecot) -> None:
    server = f"imaps://{dovecot.host}:{dovecot.tls_port}"
    done = connect(cli, "--server", server, "--ca-file", dovecot.ca_file)

    refused(cli, done, "providers.wrong_password")


def test_a_certificate_that_is_not_trusted(cli: Cli, dovecot: Dovecot) -> None:
    done = connect(cli, "--server", f"imaps://{dovecot.host}:{dovecot.tls_port}")

    refused(cli, done, "providers.not_trusted")
    assert "--ca-file" in done.err


def test_a_closed_port(cli: Cli, closed_port: int) -> None:
    refused(cli, connect(cli, "--server", f"imaps://127.0.0.1:{closed_port}"), "providers.port_closed")


def test_a_host_that_does_not_exist(cli: Cli) -> None:
    refused(cli, connect(cli, "--server", "imaps://nowhere.invalid"), "providers.unknown_host")


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("starttls-stripped", "providers.tls_refused"),
        ("greeting-bye", "providers.refused"),
    ],
)
def test_a_server_that_misbehaves(cli: Cli, lab: Lab, fault: str, code: str) -> None:
    refused(cli, connect(cli, "--server", lab("--messages", "1", "--fault", fault)), code)


def test_a_pattern_of_watched_folders_that_makes_no_sense(cli: Cli, lab: Lab) -> None:
    where = ("--server", lab("--messages", "1"), "--starttls", "off")

    refused(cli, connect(cli, *where, "--watch-folders", " , "), "accounts.bad_folder_pattern")


def test_a_folder_that_cannot_be_opened(cli: Cli, lab: Lab) -> None:
    server = lab("--messages", "5", "--fault", "select-fails")
    where = ("--server", server, "--starttls", "off")
    assert cli("connect", "robin@lab.example", *where, POSTROOM_PASSWORD="open sesame").status == 0

    done = cli("sync", "--json")
    shown = cli("sync")

    [account] = done.json["accounts"]
    assert (done.status, account["status"], shown.status) == (1, "incomplete", 1)
    assert {"path", "code", "message"} == account["skipped"][0].keys()
    assert f"[{account['skipped'][0]['code']}]" in shown.err


@pytest.mark.parametrize(
    ("address", "says"),
    [("someone@gmail.com", "app password"), ("someone@outlook.com", "OAuth")],
)
def test_owners_at_large_providers_hear_what_to_do_instead(cli: Cli, address: str, says: str) -> None:
    done = cli("connect", address, "--json")

    assert done.status == 1
    assert done.json["error"]["code"] in {"cli.no_password", "providers.app_password"}
    assert says in done.err or done.json["error"]["code"] == "cli.no_password"


@pytest.mark.parametrize(
    "server", ["ftp://a.example", *slowly("imap://user@a.example", "imap://a.example:x")]
)
def test_a_server_that_is_none(cli: Cli, server: str) -> None:
    refused(cli, connect(cli, "--server", server), "providers.bad_server")


def test_a_password_file_that_is_not_there(cli: Cli, tmp_path: Path) -> None:
    done = cli("connect", ADDRESS, "--server", "imap://a.example", "--password-file", tmp_path / "none")

    assert done.status == 1
    assert "[cli.no_password]" in done.err


def test_a_database_that_is_not_there(tmp_path: Path, closed_port: int) -> None:
    url = f"postgresql://me:hush@127.0.0.1:{closed_port}/there"
    done = Cli(tmp_path / "data")("status", "--database-url", url, "--json")

    assert done.status == 1
    assert done.json["error"]["code"] == "db.unreachable"
    assert "hush" not in done.out + done.err


def test_a_data_folder_that_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    done = Cli(tmp_path)("status", "--json")

    assert done.status == 1
    assert done.json["error"]["code"] == "db.not_our_folder"
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_query_that_means_nothing(cli: Cli) -> None:
    done = cli("search", "after:yesteryear", "--json")

    assert done.status == 1
    assert done.json["error"]["code"] == "search.bad_query"


@pytest.mark.parametrize("words", [("show", "nonsense"), ("verify", "x@y.example"), ("sync", "x@y.example")])
def test_things_that_are_not_there(cli: Cli, words: tuple[str, ...]) -> None:
    done = cli(*words, "--json")

    assert done.status == 1
    assert done.json["error"]["code"].endswith("not_found")


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = Cli(tmp_path / "data")("up", "--port", port)

    assert done.status == 1
    assert f"Port {port}" in done.err
    assert "--port" in done.err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POSTROOM_CORS_ORIGINS", "https://example.org"),  # JSON is wanted
        ("POSTROOM_EMAIL_SYNC_ENABLED", "perhaps"),
        ("POSTROOM_EMAIL_SYNC_INTERVAL_MINUTES", "0"),
        ("POSTROOM_EMAIL_SYNC_INTERVAL_MINUTES", "nan"),
        ("POSTROOM_WATCH_SWEEP_SECONDS", "4"),
        ("POSTROOM_WATCH_SILENCE_SECONDS", "59"),
        ("POSTROOM_WATCH_SILENCE_SECONDS", "541"),
        ("POSTROOM_LOGIN_PAUSE_SECONDS", "inf"),
        ("POSTROOM_PORT", "99999"),
        ("POSTROOM_STOP_PATIENCE_SECONDS", "inf"),
        ("POSTROOM_SYNC_GRACE_SECONDS", "-1"),
        ("POSTROOM_SYNC_PARALLEL", "0"),
        ("POSTROOM_WORKERS", "0"),
    ],
)
def test_a_setting_that_makes_no_sense(cli: Cli, name: str, value: str) -> None:
    done = cli("status", "--json", **{name: value})

    refused(cli, done, "cli.bad_setting")
    assert name.removeprefix("POSTROOM_").lower() in done.err.lower()
