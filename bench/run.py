"""`make bench`: every benchmark, both sides in one run.

`make bench N=20000 RUNS=5` for the published figures; `make bench ARGS=mime` for one of them;
`make bench N=1000000 ARGS=large_folder` for one that is not among all of them.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from servers.dovecot import Dovecot, running

from bench import (
    arrivals,
    feeds,
    first_sync,
    large_folder,
    log,
    million,
    mime,
    neighbours,
    newest,
    ours,
    paging,
    parallel,
    protocol,
    rounds,
    schedule,
    slow_link,
    startup,
    throughput,
    warm,
    watched,
)
from bench.mailbox import fill
from bench.report import Table, machine

SEED = 1
USUAL = ["mime", "protocol", "first_sync", "newest", "unchanged", "flags", "startup"]
WARM = {"unchanged", "flags", "startup"}
ON_DOVECOT = {"arrivals", "protocol", "first_sync", "log_cost", "newest", "slow_link", *WARM}

ALONE: Mapping[str, Callable[[argparse.Namespace], Table | str]] = {  # without a Dovecot
    "mime": lambda chosen: mime.run(chosen.messages, SEED),
    "large_folder": lambda chosen: large_folder.run(chosen.messages),
    "log": lambda chosen: log.run(chosen.messages),
    "million": lambda chosen: million.run(chosen.messages, chosen.runs),
    "watched": lambda chosen: watched.run(chosen.messages),
    "feeds": lambda chosen: feeds.run(feeds.READERS, feeds.EVENTS, chosen.runs),
    "paging": lambda chosen: paging.run(chosen.messages, chosen.runs),
    "neighbours": lambda chosen: neighbours.run(chosen.runs),
    "schedule": lambda chosen: schedule.run(chosen.messages),
    "throughput": lambda chosen: throughput.run(chosen.messages, chosen.runs),
}
MANY = {"rounds": rounds.run, "parallel": parallel.run}  # accounts on a Dovecot of their own


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    others = "arrivals, feeds, large_folder, log, log_cost, million, neighbours, paging, parallel, rounds"
    others += ", schedule, slow_link, throughput, watched"
    options.add_argument("only", nargs="*", help=f"{', '.join(USUAL)} (by default these), {others}")
    options.add_argument("-n", "--messages", type=int, default=2000)
    options.add_argument("-r", "--runs", type=int, default=3)
    options.add_argument("--megabits", type=float, default=100.0, help="a second, of slow_link")
    options.add_argument("--delay", type=float, default=0.0, help="seconds each way, of slow_link")
    chosen = options.parse_args()
    only = chosen.only or USUAL
    print(f"{machine()}; {chosen.messages:,} messages, seed {SEED}\n", flush=True)
    for name, measured in ALONE.items():
        if name in only:
            print(measured(chosen), flush=True)
    for name, beside in MANY.items():
        if name in only:
            with running() as server:
                print(beside(server, chosen.messages, chosen.runs), flush=True)
    if ON_DOVECOT & set(only):
        with running() as server:
            _on_dovecot(server, chosen, only)


def _on_dovecot(server: Dovecot, chosen: argparse.Namespace, only: Sequence[str]) -> None:
    user, messages, runs = server.user("bench"), chosen.messages, chosen.runs
    began = time.perf_counter()
    filled = fill(server, user, messages, seed=SEED)
    print(f"filled {len(filled)} folders in {time.perf_counter() - began:.0f} s\n", file=sys.stderr)
    if "protocol" in only:
        print(protocol.run(server, user, "INBOX", filled["INBOX"]), flush=True)
    if "arrivals" in only:
        print(arrivals.run(server, user, messages), flush=True)
    if "first_sync" in only:
        print(first_sync.run(server, user, messages, runs), flush=True)
    if "slow_link" in only:
        over = {"megabits": chosen.megabits, "delay": chosen.delay}
        print(slow_link.run(server, user, messages, runs, **over), flush=True)
    if "newest" in only:
        print(_newest(server, user, messages, runs), flush=True)
    if WARM & set(only):
        _warm(server, user, messages, runs, only)
    if "log_cost" in only:
        print(first_sync.log_cost(server, user, messages, runs), flush=True)


def _newest(server: Dovecot, user: str, messages: int, runs: int) -> Table:
    """Of this mailbox, and of one with a tenth of the messages."""
    small, few = server.user("bench"), max(messages // 10, 1000)
    fill(server, small, few, seed=SEED)
    return newest.run(server, {few: small, messages: user}, SEED, runs)


def _warm(server: Dovecot, user: str, messages: int, runs: int, only: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="postroom-bench-") as folder:
        home = Path(folder)
        ours.copied(server, user, home)
        if "unchanged" in only:
            print(warm.unchanged(server, user, home, messages), flush=True)
        if "flags" in only:
            print(warm.flags(server, user, home, messages), flush=True)
        ours.ended(home)
        if "startup" in only:
            print(startup.run(home, runs), flush=True)


if __name__ == "__main__":
    main()
