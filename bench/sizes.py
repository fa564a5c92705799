"""First syncs of mailboxes of many sizes, and where their processor time goes.

The same commands as `first_sync`, once for each size and run, alternating. `python -m bench.sizes` writes
`bench/figures.json`; `python -m bench.pictures` draws what is there.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from servers.dovecot import running

from bench import first_sync
from bench.mailbox import fill
from bench.report import Table, machine
from bench.spent import spending

HERE = Path(__file__).parent
FIGURES = HERE / "figures.json"
SIZES = (500, 2_000, 5_000, 10_000, 20_000)
OURS, MIRROR, BOTH = "postroom sync", "mbsync", "mbsync, then notmuch new"


def measure(sizes: Sequence[int], runs: int) -> dict[str, Any]:
    """Seconds of each command at each size, and what was spent by which process, in each run."""
    figures: dict[str, Any] = {"machine": machine(), "runs": runs, "sizes": {}}
    with running() as server:
        for size in sizes:
            user = server.user("sizes")
            fill(server, user, size, seed=1)
            seconds: dict[str, list[float]] = {OURS: [], MIRROR: [], BOTH: []}
            spent: list[dict[str, float]] = []
            for _ in range(runs):
                with spending() as ours:
                    seconds[OURS].append(first_sync.time_postroom(server, user, size).seconds)
                spent.append(ours.seconds)
                copied, indexed = first_sync.time_mbsync(server, user)
                seconds[MIRROR].append(copied)
                seconds[BOTH].append(copied + indexed)
            figures["sizes"][str(size)] = {"seconds": seconds, "spent": spent}
            print(f"{size:,} messages: {_rates(size, seconds)}", flush=True)
    return figures


def _rates(size: int, seconds: dict[str, list[float]]) -> str:
    return ", ".join(
        f"{name} {size / statistics.median(each):,.0f} a second" for name, each in seconds.items()
    )


def _times(seconds: dict[str, list[float]], name: str) -> str:
    pairs = zip(seconds[name], seconds[OURS], strict=True)
    return f"{statistics.median(theirs / ours for theirs, ours in pairs):.2f}"


def table(figures: dict[str, Any]) -> Table:
    made = Table(
        f"First syncs, {figures['runs']} runs of each size, alternating: messages a second",
        ["messages", OURS, MIRROR, BOTH, "times as fast as mbsync", "as both"],
    )
    for size, each in figures["sizes"].items():
        seconds = each["seconds"]
        rates = [f"{int(size) / statistics.median(seconds[name]):,.0f}" for name in (OURS, MIRROR, BOTH)]
        made.add(f"{int(size):,}", *rates, _times(seconds, MIRROR), _times(seconds, BOTH))
    made.note(figures["machine"])
    return made


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("-n", "--sizes", type=int, nargs="*", default=SIZES)
    options.add_argument("-r", "--runs", type=int, default=3)
    chosen = options.parse_args()
    before = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    figures = before | measure(chosen.sizes, chosen.runs)
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    print(table(figures))


if __name__ == "__main__":
    main()
