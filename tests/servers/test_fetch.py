"""Fetching is done once, says what it lacks, and never leaves half a server behind."""

import subprocess
import sys
from pathlib import Path

import pytest

from servers.fetch import CannotFetch, Prefix, fetch, version


def test_what_is_there_already_is_found_without_asking_anybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    (tmp_path / "tool").mkdir()
    (tmp_path / "tool" / ".complete").touch()

    assert fetch(["tool"], tmp_path / "tool") == Prefix(tmp_path / "tool")


def test_a_system_without_packages_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")

    with pytest.raises(CannotFetch, match="install dovecot-imapd by hand"):
        fetch(["dovecot-imapd"], tmp_path / "dovecot")
    assert list(tmp_path.iterdir()) == []


def test_without_a_dovecot_the_command_says_so_in_one_line_and_succeeds(tmp_path: Path) -> None:
    """Run from a copy, which has nothing fetched beside it."""
    copy = tmp_path / "tests" / "servers" / "fetch.py"
    copy.parent.mkdir(parents=True)
    copy.write_bytes((Path(__file__).parent / "fetch.py").read_bytes())

    done = subprocess.run([sys.executable, copy], capture_output=True, text=True, env={"PATH": ""})

    assert done.returncode == 0
    assert done.stdout.startswith("No Dovecot for the tests") or Path("/usr/sbin/dovecot").exists()
    assert done.stderr == ""


def test_a_program_that_does_not_start_has_no_version() -> None:
    assert version(Path("/bin/false"), {}) == ()
