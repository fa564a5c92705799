"""`postroom up --demo`: everything in one process, with the PostgreSQL that comes with us."""

import fcntl
import json
import re
import signal
import subprocess
from pathlib import Path
from time import monotonic, sleep

import pytest

from .conftest import Cli

pytestmark = pytest.mark.slow

UP = ("up", "--demo", "--port", "0")
LAST = "Ctrl-C stops everything."
DEMO = "demo@postroom.example"


@pytest.fixture
def own(tmp_path: Path) -> Cli:
    """An installation with a database of its own."""
    return Cli(tmp_path / "data")


def told(process: "subprocess.Popen[str]", last: str = LAST) -> str:
    """What it says, until it has said that."""
    said = ""
    assert process.stdout is not None
    for line in process.stdout:
        said += line
        if last in line:
            return said
    assert process.stderr is not None
    raise AssertionError(said + process.stderr.read())


def nobody_is_left(data: Path) -> bool:
    """Waits until no keeper and no PostgreSQL of this folder runs: each of them holds the lock."""
    with (data / "postgres" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
    return True


def begins(data: Path) -> bool:
    """Waits until the keeper of this folder has its lock; then it makes and starts PostgreSQL."""
    until = monotonic() + 20
    while not (data / "postgres" / "keeper.sock").exists():
        assert monotonic() < until
        sleep(0.005)
    return True


def stored(cli: Cli) -> int:
    count: int = cli("status", DEMO, "--json").json["accounts"][0]["messages"]
    return count


def test_everything_starts_can_be_used_as_told_and_stops(own: Cli) -> None:
    with own.running(*UP) as up:
        said = told(up)
        curl = re.search(r"curl .*", said)
        search = re.search(r" search (.*)", said)
        assert curl is not None
        assert search is not None
        done = subprocess.run(["bash", "-c", f"{curl[0]} -fsS"], capture_output=True, text=True, check=True)
        found = own("search", *search[1].split(), "--json")
        documentation = re.search(r"http\S+/docs", said)
        assert documentation is not None
        subprocess.run(["curl", "-fsS", documentation[0]], check=True, capture_output=True)
        arrived = told(up, "new mail")
        up.send_signal(signal.SIGINT)
        rest = told(up, "Stopped.")
        status = up.wait(20)

    assert json.loads(done.stdout)["items"]
    assert found.status == 0
    assert found.json["results"]
    assert arrived.count("\n") == 1
    assert status == 0
    assert "Traceback" not in rest
    assert nobody_is_left(own.data)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_whatever_ends_it_no_server_is_left_and_the_next_start_finds_its_mail(
    own: Cli, how: signal.Signals
) -> None:
    with own.running(*UP) as up:
        told(up, "new mail")
        up.send_signal(how)
        up.wait(20)
    left = nobody_is_left(own.data)
    before = stored(own)
    with own.running(*UP) as up:
        told(up)
        equal = own("verify", DEMO)
        after = stored(own)

    assert left
    assert equal.status == 0
    assert after >= before > 1000


@pytest.mark.parametrize("command", ["up", "serve"])
@pytest.mark.parametrize(("how", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGKILL, -9)])
def test_one_that_is_ended_while_it_starts_leaves_nobody(
    own: Cli, command: str, how: signal.Signals, status: int
) -> None:
    with own.running(command, "--port", "0") as up:
        has_begun = begins(own.data)
        up.send_signal(how)
        said, complaint = up.communicate(timeout=20)

    assert has_begun
    assert up.returncode == status
    assert said == ("" if status else "Stopped.\n")
    assert complaint == ""
    assert nobody_is_left(own.data)


def test_a_server_that_cannot_start_is_one_sentence(own: Cli) -> None:
    cluster = own.data / "postgres" / "cluster"
    cluster.mkdir(parents=True)
    (own.data / ".postroom").touch()
    (cluster / "PG_VERSION").write_text("9\n")

    done = own("up", "--port", "0")

    assert done.status == 1
    assert "[db.other_version]" in done.err
    assert done.err.count("\n") == 1
    assert nobody_is_left(own.data)


def test_the_demonstration_runs_once_in_a_folder(own: Cli) -> None:
    with own.running(*UP) as up:
        told(up)
        second = own(*UP)

    assert second.status == 1
    assert "[cli.demo_running]" in second.err


def test_without_a_mailbox_it_says_how_to_connect_one(cli: Cli) -> None:
    with cli.running("up", "--port", "0") as up:
        said = told(up)
        up.send_signal(signal.SIGINT)
        status = up.wait(20)

    assert "connect" in said
    assert status == 0
