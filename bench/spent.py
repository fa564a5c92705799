"""Which process takes how much processor time while a command runs: ours, PostgreSQL, the mail server."""

import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
EVERY = 0.05  # seconds between two looks; what a process does after the last one is lost
SORTS: dict[str, Callable[[str, str], bool]] = {
    "PostgreSQL": lambda name, _: name == "postgres",
    "mail server": lambda name, _: (
        name in {"imap", "imap-login", "dovecot", "auth", "config", "anvil", "stats"}
    ),
    "mbsync": lambda name, _: name == "mbsync",
    "notmuch": lambda name, _: name.startswith("notmuch"),
    "postroom, reading": lambda _, command: "multiprocessing.spawn" in command,
    "postroom": lambda _, command: "postroom.cli" in command,
}


class Spent:
    """Seconds of each sort, of processes that ran at any look."""

    def __init__(self) -> None:
        self._first: dict[int, float] = {}
        self._last: dict[int, float] = {}
        self._sorts: dict[int, str] = {}

    @property
    def seconds(self) -> dict[str, float]:
        found: defaultdict[str, float] = defaultdict(float)
        for pid, sort in self._sorts.items():
            found[sort] += self._last[pid] - self._first[pid]
        return dict(found)

    def look(self, *, is_first: bool = False) -> None:
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                self._look_at(int(entry), is_first=is_first)

    def _look_at(self, pid: int, *, is_first: bool) -> None:
        try:
            name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
            if pid not in self._sorts:
                command = (
                    Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
                sort = next((sort for sort, fits in SORTS.items() if fits(name, command)), None)
                if sort is None:
                    return
                self._sorts[pid] = sort
        except OSError:  # it has ended
            return
        fields = rest.split()
        self._last[pid] = (int(fields[11]) + int(fields[12])) / TICK
        self._first.setdefault(pid, self._last[pid] if is_first else 0.0)


@contextmanager
def spending() -> Iterator[Spent]:
    """Look again and again while the block runs."""
    spent, over = Spent(), threading.Event()

    def watch() -> None:
        while not over.wait(EVERY):
            spent.look()

    spent.look(is_first=True)
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield spent
    finally:
        over.set()
        watcher.join()
