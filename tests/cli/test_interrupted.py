"""A sync that is ended in the middle: quietly by Ctrl-C, at once by kill, with a sentence by the database."""

import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from servers.link import link

from .conftest import COMMAND, Cli, Lab

pytestmark = pytest.mark.slow

ADDRESS = "robin@lab.example"
MESSAGES = 2000
MEGABITS = 400.0  # slower than any machine stores them, so that some are yet to come when it is ended
UNDER_WAY = re.compile(rb"(?<![\d,])(?!2,000)[1-9][\d,]*/2,000 messages")


@pytest.fixture
def own(tmp_path: Path, lab: Lab) -> Iterator[Cli]:
    """An installation with a database of its own, connected to a mailbox that takes a while."""
    cli = Cli(tmp_path / "data")
    server = urlsplit(lab("--messages", str(MESSAGES)))
    assert server.hostname is not None
    assert server.port is not None
    with link(server.hostname, server.port, MEGABITS) as slow:
        where = server._replace(netloc=f"{server.hostname}:{slow.port}").geturl()
        done = cli(
            *("connect", ADDRESS, "--server", where, "--starttls", "off"), POSTROOM_PASSWORD="open sesame"
        )
        assert done.status == 0
        yield cli


@contextmanager
def syncing(cli: Cli) -> Iterator["subprocess.Popen[str]"]:
    """A sync on a terminal, some of which is done."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "sync"],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=cli.environment(TERM="xterm"),
        start_new_session=True,
        text=True,
    )
    os.close(theirs)
    try:
        seen = b""
        while not UNDER_WAY.search(seen):
            seen += os.read(ours, 4096)
        yield process
        process.communicate()
        while True:
            try:
                seen += os.read(ours, 4096)
            except OSError:  # the terminal's other side is closed
                break
        assert b"Traceback" not in seen
        assert process.returncode != 1 or b"[db." in seen
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def finishes(cli: Cli) -> None:
    """The next sync fetches what was left and ends with an equal copy."""
    done = cli("sync", "--json")
    equal = cli("verify", ADDRESS, "--json")
    stored = cli("status", ADDRESS, "--json").json["accounts"][0]["messages"]

    assert done.status == 0
    assert 0 < done.json["accounts"][0]["added"] < MESSAGES
    assert equal.status == 0
    assert stored == MESSAGES


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_sync_that_was_ended_goes_on_where_it_was(own: Cli, number: signal.Signals, status: int) -> None:
    with syncing(own) as process:
        # A terminal's Ctrl-C reaches everything that we started, too.
        os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)

    assert process.returncode == status
    finishes(own)


def test_a_database_that_dies_in_the_middle_is_one_sentence(own: Cli) -> None:
    with syncing(own) as process:
        pid = (own.data / "postgres" / "cluster" / "postmaster.pid").read_text().split()[0]
        os.kill(int(pid), signal.SIGKILL)

    assert process.returncode == 1
    finishes(own)
