"""Who a process is, so that another one on the same machine can tell that it is gone."""

import os
import uuid
from functools import cache
from pathlib import Path


@cache
def _machine() -> str:
    """This boot of this machine and our namespace of process numbers; where unknown, equal to no other."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return str(uuid.uuid4())


def _started(pid: int) -> str | None:
    """When a process began, in the kernel's ticks; None when there is none, or only its zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]


def identity() -> str:
    """A text that names this process and no other, ever: numbers are used again, start times are not."""
    return _identity(os.getpid())


@cache
def _identity(pid: int) -> str:  # a child that was forked has another number
    return f"{_machine()} {pid} {_started(pid)}"


def is_dead(other: str) -> bool:
    """Whether the process of that identity certainly runs no more. False when it cannot be known.

    Behind the identity more words may stand, for several holders in one process.
    """
    match other.split(" "):
        case [machine, pid, start, *_] if machine == _machine() and pid.isdecimal():
            return _started(int(pid)) != start
    return False
