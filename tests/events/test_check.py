"""An export can be checked anywhere, with one file and Python."""

import ast
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers.tenants import ONE

from postroom.db.pool import Database
from postroom.events import chain, check
from postroom.events import export as exporting
from postroom.events import seal as sealing

from .forging import LAST, SIGNER, written

FILE = Path(check.__file__)
KEY = SIGNER.public.hex()


@pytest.fixture
async def export(db: Database, tenants: None, tmp_path: Path) -> Path:  # noqa: ARG001  made before the log
    """An export, and beside it the newest seal."""
    kept = await written(db)
    (tmp_path / "seal").write_bytes(sealing.line(kept))
    file = io.BytesIO()
    done = await exporting.export(db, ONE, file)
    assert (done.streams, done.entries, done.seal) == (2, LAST + 4, 2)
    path = tmp_path / "export"
    path.write_bytes(file.getvalue())
    return path


def run(*words: str | Path, program: Path = FILE) -> tuple[int, str]:
    """As its own program: isolated, without any package that is not Python's own."""
    command = [sys.executable, "-I", "-S", str(program), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def test_it_imports_nothing_but_the_standard_library() -> None:
    imported = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(FILE.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or "postroom"] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
    }

    assert imported <= sys.stdlib_module_names


def test_a_copy_of_the_file_is_enough(export: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(FILE, tmp_path / "elsewhere.py"))

    status, said = run(export, "--key", KEY, "--seal", tmp_path / "seal", program=copy)

    assert (status, said) == (
        0,
        "10 entries in 2 streams, sealed up to seal 2: nothing is missing or altered.\n",
    )


def test_without_a_key_it_says_whose_signature_it_believed(export: Path) -> None:
    status, said = run(export)

    assert status == 0
    assert KEY in said


def test_it_runs_as_a_module(export: Path) -> None:
    command = [sys.executable, "-m", "postroom.events.check", str(export)]
    environment = {**os.environ, "PYTHONPATH": str(FILE.parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_wrong_is_said_with_status_1(export: Path) -> None:
    lines = export.read_text().splitlines(keepends=True)
    export.write_text("".join(line for line in lines if not line.startswith('{"entry":[7,3,')))

    status, said = run(export, "--key", KEY)

    assert status == 1
    assert "Entry 3 of stream 7: missing." in said


def test_another_key_is_not_believed(export: Path) -> None:
    status, said = run(export, "--key", "00" * 32)

    assert status == 1
    assert "is not ours" in said


@pytest.mark.parametrize("words", [[], ["nothing"], ["export", "--key", "x"], ["export", "--seal", "export"]])
def test_words_that_make_no_sense_end_with_status_2(export: Path, words: list[str]) -> None:
    arguments = [export.parent / word if word in {"export", "nothing"} else word for word in words]

    assert run(*arguments)[0] == 2


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_line_can_be_dropped_doubled_swapped_cut_or_altered(export: Path, data: st.DataObject) -> None:
    lines = export.read_text().splitlines()
    which = data.draw(st.integers(0, len(lines) - 1))
    line = lines[which]
    other = data.draw(st.integers(0, len(lines) - 1).filter(lambda number: lines[number] != line))
    digits = [place for place, char in enumerate(line) if char.isdigit()]
    place = data.draw(st.sampled_from(digits))
    another = data.draw(st.sampled_from("0123456789").filter(lambda digit: digit != line[place]))
    changed = {
        "drop": lines[:which] + lines[which + 1 :],
        "double": [*lines[: which + 1], *lines[which:]],
        "swap": [lines[other] if n == which else line if n == other else lines[n] for n in range(len(lines))],
        "cut the file": lines[:which],
        "cut the line": [*lines[:which], line[:place]],
        "alter": [*lines[:which], line[:place] + another + line[place + 1 :], *lines[which + 1 :]],
    }[data.draw(st.sampled_from(["drop", "double", "swap", "cut the file", "cut the line", "alter"]))]

    assert check.check(changed, [SIGNER.public]).findings


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.text(), st.sampled_from(["{}", "[]", "1", "null", '{"log":1}', '{"entry":[]}'])))
)
def test_whatever_it_is_given_it_only_says_what_is_wrong(lines: list[str]) -> None:
    assert check.check(lines).findings


@settings(max_examples=25, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.integers(0, 64 * 8 - 1))
def test_signatures_are_those_of_a_second_library(secret: bytes, message: bytes, bit: int) -> None:
    private = Ed25519PrivateKey.from_private_bytes(secret)
    key, signature = private.public_key().public_bytes_raw(), private.sign(message)
    flipped = bytearray(signature)
    flipped[bit // 8] ^= 1 << bit % 8

    assert check.is_signed(key, message, signature)
    assert not check.is_signed(key, message, bytes(flipped))
    assert not check.is_signed(key, message + b"!", signature)


@pytest.mark.parametrize(
    "key", [b"", bytes(31), b"\xff" * 32, (check.P + 1).to_bytes(32, "little"), b"\x02" + bytes(31)]
)
def test_what_is_no_key_signs_nothing(key: bytes) -> None:
    assert not check.is_signed(key, b"", bytes(64))


@given(st.binary(min_size=32, max_size=32), st.integers(1), st.integers(0), st.text(), st.text())
def test_both_files_mean_the_same_hash(
    previous: bytes, seq: int, position: int, kind: str, body: str
) -> None:
    row = (7, seq, position, "2026-01-01T00:00:00.000000+00:00", kind, body, b"")

    assert check.link(previous, row) == chain.link(previous, *row[1:-1])
