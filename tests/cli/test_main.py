"""The entrance: help, version, and words that make no sense."""

import subprocess
import sys
from pathlib import Path

import pytest

from postroom import __version__

from .conftest import Cli, slowly

LOADED = """
import sys
from postroom.cli.main import main
try:
    main()
except SystemExit:
    pass
sys.stderr.write(" ".join(sys.modules))
"""


@pytest.fixture
def bare(tmp_path: Path) -> Cli:
    """No database is needed to be told that one is holding it wrong."""
    return Cli(tmp_path / "data")


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_help_and_version_load_nothing_heavy(option: str) -> None:
    done = subprocess.run([sys.executable, "-c", LOADED, option], capture_output=True, text=True, check=True)

    assert not {"asyncpg", "fastapi", "postroom.settings"} & set(done.stderr.split())


@pytest.mark.parametrize(
    ("modules", "too_soon"),
    [
        ("up, serve", {"asyncpg", "fastapi", "postroom.cli.installation"}),
        ("everything, installation", {"fastapi", "postroom.api", "postroom.lab", "postroom.sync.perform"}),
        ("serving", {"dns", "postroom.imap", "postroom.lab", "postroom.executor", "postroom.sync.perform"}),
    ],
)
def test_what_starts_imports_only_what_it_needs_next(modules: str, too_soon: set[str]) -> None:
    words = f"import sys; from postroom.cli import {modules}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)

    assert not too_soon & set(done.stdout.split())


def test_the_version_is_told(bare: Cli) -> None:
    assert bare("--version").out == f"postroom {__version__}\n"


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["search"],
        ["up", "--port", "99999"],
        *slowly(
            ["sync", "--nonsense"],
            ["connect", "a@b.example", "--since", "yesterday"],
            ["export", "a@b.example"],
            ["import", "/there/is/nothing"],
            ["show", "x", "--raw", "--html"],
            ["lab", "imap", "--fault", "nonsense"],
            ["lab", "imap", "--arrive-every", "soon"],
            ["lab", "imap", "--arrivals", "5"],
            ["lab", "imap", "--accounts", "0"],
        ),
    ],
)
def test_words_that_make_no_sense_end_with_status_2(bare: Cli, words: list[str]) -> None:
    done = bare(*words)

    assert done.status == 2
    assert "Error" in done.err
    assert not bare.data.exists()


@pytest.mark.parametrize("room", ["sync", *slowly("up", "connect", "keys", "import")])
def test_every_command_explains_itself(bare: Cli, room: str) -> None:
    done = bare(room, "--help")

    assert done.status == 0
    assert "Usage: postroom " + room in done.out


def test_a_setting_that_makes_no_sense_is_named(bare: Cli) -> None:
    done = bare("status", POSTROOM_PORT="many")

    assert done.status == 1
    assert "POSTROOM_PORT" in done.err
    assert "[cli.bad_setting]" in done.err


def test_faults_of_the_lab_are_listed(bare: Cli) -> None:
    assert "greeting-bye" in bare("lab", "faults").out
