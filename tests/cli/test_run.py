"""How a command ends, whatever its work ends with."""

import errno
import json
import shutil
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from postroom.cli.run import carry_out
from postroom.db.model import DiskFull, Unreachable
from postroom.settings import Settings

Work = Callable[[Settings], Coroutine[Any, Any, None]]


def raising(error: BaseException) -> Work:
    async def work(_settings: Settings) -> None:
        raise error

    return work


@pytest.fixture(autouse=True)
def _hook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # carry_out sets it


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / ".postroom").touch()
    return tmp_path


def test_the_result_of_the_work_comes_back(data: Path) -> None:
    async def work(settings: Settings) -> Path:
        return settings.data

    assert carry_out(work, data) == data


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (DiskFull("Make room."), "db.disk_full", "Make room."),
        (ExceptionGroup("", [ExceptionGroup("", [DiskFull("Make room.")])]), "db.disk_full", "Make room."),
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), "cli.system", "disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), "cli.system", "/a/b: Permission denied"),
    ],
)
def test_a_failure_is_one_sentence_and_status_1(
    data: Path, capsysbinary: pytest.CaptureFixture[bytes], error: Exception, code: str, says: str
) -> None:
    with pytest.raises(typer.Exit) as ended:
        carry_out(raising(error), data, as_json=True)

    said = capsysbinary.readouterr()
    assert ended.value.exit_code == 1
    assert said.err.count(b"\n") == 1
    assert says in said.err.decode()
    assert f"[{code}]" in said.err.decode()
    assert json.loads(said.out)["error"]["code"] == code


@pytest.mark.parametrize(("free", "code"), [(1 << 20, "db.disk_full"), (1 << 40, "db.unreachable")])
def test_a_database_of_ours_that_ended_for_want_of_room_says_so(
    free: int, code: str, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))

    with pytest.raises(typer.Exit):
        carry_out(raising(Unreachable("The connection to PostgreSQL was lost.")), data)

    assert f"[{code}]" in capsys.readouterr().err


def test_a_bug_is_one_sentence_and_its_traceback_is_in_the_log(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ZeroDivisionError) as bug:
        carry_out(raising(ZeroDivisionError("oh")), data)
    sys.excepthook(bug.type, bug.value, bug.tb)

    assert capsys.readouterr().err == (
        f"postroom: This is a bug in postroom (ZeroDivisionError); "
        f"the details are in {data}/postroom.log. [cli.bug]\n"
    )
    assert "ZeroDivisionError: oh" in (data / "postroom.log").read_text()


def test_nothing_is_written_into_a_folder_that_is_not_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ZeroDivisionError) as bug:
        carry_out(raising(ZeroDivisionError()), tmp_path)
    sys.excepthook(bug.type, bug.value, bug.tb)

    assert "POSTROOM_DEBUG=1" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
