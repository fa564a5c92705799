"""One fuzzing process: `python -m fuzz.drive TARGET COUNT_FILE [libFuzzer options] CORPUS`.

A finding is anything raised, a second of this process's time, or 300 MB more than it began with. It ends the
process; libFuzzer then leaves the input in a file. COUNT_FILE holds how many inputs were tried.
"""

import os
import resource
import shlex
import sys
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["postroom"], exclude=["postroom.lab"]):
    from fuzz.targets import TARGETS

MOST_SECONDS = 1.0
MOST_KILOBYTES = 300 << 10
EVERY = 256  # inputs between two notes of the count


class Finding(Exception):
    """An input took too much."""


class Watched:
    """A target under the clock and the scales."""

    def __init__(self, target: str, count_file: Path) -> None:
        self._check = TARGETS[target]
        self._file = os.open(count_file, os.O_WRONLY | os.O_CREAT)
        self._count = 0
        self._most = 0

    def one(self, data: bytes) -> None:
        began = time.thread_time()
        self._check(data)
        took = time.thread_time() - began
        if took > MOST_SECONDS:
            raise Finding(f"{took:.1f} s")
        self._count += 1
        if self._count % EVERY == 0:
            os.pwrite(self._file, b"%20d" % self._count, 0)
            self._weigh()

    def _weigh(self) -> None:
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if not self._most:
            self._most = held + MOST_KILOBYTES
        if held > self._most:
            raise Finding(f"{held >> 10} MB")


def main() -> None:
    target, count_file, *options = sys.argv[1:]
    watched = Watched(target, Path(count_file))
    # To merge, libFuzzer hands its first argument to a shell to start itself again.
    again = shlex.join([sys.executable, "-m", "fuzz.drive", target, count_file])
    atheris.Setup([again, *options], watched.one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
