"""`make bench`: every benchmark, both sides in one run.

`make bench N=20000 RUNS=5` for the published figures; `make bench ARGS=mime` for one of them;
`make bench N=1000000 ARGS=large_folder` for one that is not among all of them.
"""

import argparse
import sys
import time

from servers.dovecot import running

from bench import first_sync, large_folder, log, mime, protocol, schedule
from bench.mailbox import fill
from bench.report import machine

SEED = 1


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument(
        "only",
        nargs="*",
        help="mime, protocol, first_sync (by default these), large_folder, log, log_cost, schedule",
    )
    options.add_argument("-n", "--messages", type=int, default=2000)
    options.add_argument("-r", "--runs", type=int, default=3)
    chosen = options.parse_args()
    only = chosen.only or ["mime", "protocol", "first_sync"]
    print(f"{machine()}; {chosen.messages:,} messages, seed {SEED}\n", flush=True)
    if "mime" in only:
        print(mime.run(chosen.messages, SEED), flush=True)
    if "large_folder" in only:
        print(large_folder.run(chosen.messages), flush=True)
    if "log" in only:
        print(log.run(chosen.messages), flush=True)
    if "schedule" in only:
        print(schedule.run(chosen.messages), flush=True)
    if not {"protocol", "first_sync", "log_cost"} & set(only):
        return
    with running() as server:
        user = server.user("bench")
        began = time.perf_counter()
        filled = fill(server, user, chosen.messages, seed=SEED)
        print(f"filled {len(filled)} folders in {time.perf_counter() - began:.0f} s\n", file=sys.stderr)
        if "protocol" in only:
            print(protocol.run(server, user, "INBOX", filled["INBOX"]), flush=True)
        if "first_sync" in only:
            print(first_sync.run(server, user, chosen.messages, chosen.runs), flush=True)
        if "log_cost" in only:
            print(first_sync.log_cost(server, user, chosen.messages, chosen.runs), flush=True)


if __name__ == "__main__":
    main()
