"""How a command runs and ends.

0     it did what was asked
1     it could not: one sentence on standard error, the code of the error in brackets; with --json also
      `{"error": {"code", "message"}}` on standard output
2     it was called in a way that makes no sense
130   Ctrl-C

What nobody foresaw is a bug: one sentence, and the traceback in the log, or on the screen where
POSTROOM_DEBUG is set.
"""

import asyncio
import errno
import gc
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, TypeVar

import typer
import uvloop

from postroom.cli import screen
from postroom.cli.given import DEBUG, log_file, read_settings
from postroom.db.beside import alone
from postroom.db.model import Busy, DiskFull, Unreachable
from postroom.errors import PostroomError
from postroom.settings import Settings

T = TypeVar("T")

COLLECT = 20_000, 20, 50
"""When cycles are looked for. Hardly anything here refers to itself; looking took a tenth of a sync."""
JOURNAL = 16 << 20
"""Bytes that PostgreSQL's journal grows by."""


def carry_out(
    begin: Callable[[Settings], Coroutine[Any, Any, T]],
    data: Path | None = None,
    database_url: str | None = None,
    *,
    as_json: bool = False,
    **more: Any,
) -> T:
    """Run a command's work in an event loop of its own; leaves the process when it fails.

    `begin` gets the settings and may ask a person before it returns the work. `more` are further settings.
    """
    sys.excepthook = partial(_unforeseen, data, as_json)
    gc.freeze()  # what was imported stays
    gc.set_threshold(*COLLECT)
    try:
        work = begin(read_settings(data, database_url, **more))
        with alone(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work)
    except PostroomError as error:
        _fail(error, data, database_url, as_json=as_json)
    except BrokenPipeError:
        raise  # whoever read our output has seen enough
    except OSError as error:
        _keep(data, error)
        fail("cli.system", _reason(error), as_json=as_json)


def fail(code: str, message: str, *, as_json: bool) -> NoReturn:
    """Say why, and end with status 1."""
    screen.warn(f"postroom: {screen.line(message)} [{code}]")
    if as_json:
        screen.document({"error": {"code": code, "message": message}})
    raise typer.Exit(1)


def _fail(error: PostroomError, data: Path | None, database_url: str | None, *, as_json: bool) -> NoReturn:
    """Our own PostgreSQL says nothing of a full disk when it cannot write its journal: it just ends."""
    if isinstance(error, Unreachable | Busy):
        settings = read_settings(data, database_url)
        if settings.database_url is None and shutil.disk_usage(settings.data).free < JOURNAL:
            error = DiskFull(f"The disk of {settings.data} is full; make room, then try again.")
    fail(error.code, error.message, as_json=as_json)


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "The disk is full; make room, then try again."
    what = f"{error.filename}: " if error.filename else ""
    return f"{what}{error.strerror or error}."


def _unforeseen(
    data: Path | None,
    as_json: bool,
    _kind: type[BaseException],
    error: BaseException,
    _traceback: TracebackType | None,
) -> None:
    """Installed as `sys.excepthook`: Python then ends with status 1."""
    place = _keep(data, error)
    where = f"; the details are in {place}" if place else f"; call it again with {DEBUG}=1 for the details"
    message = f"This is a bug in postroom ({type(error).__name__}){where}."
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    screen.warn(f"postroom: {message} [cli.bug]")
    if as_json:
        screen.document({"error": {"code": "cli.bug", "message": message}})


def _keep(data: Path | None, error: BaseException) -> Path | None:
    """Write the traceback into the log; where that is, or None where there is none to write to."""
    path = log_file(data)
    if path is None:
        return None
    try:
        with path.open("a") as log:
            log.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {' '.join(sys.argv[:2])}\n")
            traceback.print_exception(error, file=log)
    except OSError:
        return None
    return path
