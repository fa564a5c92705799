"""`python -m bench.sync_now`: how soon `POST /v1/accounts/{id}/sync` answers while its process syncs.

`postroom up` is one process, whose executor copies all accounts for the first time; then the same again with
`postroom serve` and `postroom executor`. The mail server is another process; this one asks, for one account
after another. A time is that from the request to the answer's end.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import uvloop

from bench.ours import COMMAND, Client, started
from bench.report import Table, machine
from postroom.lab.server import PASSWORD, serve

ACCOUNTS = 6
RATE = 50.0  # requests a second
COLD = 20  # that come first, and find connections to open and statements to prepare
GOAL = 0.02  # seconds


def run(messages: int, requests: int) -> Table:
    """So many requests, while accounts of so many messages each are copied."""
    return uvloop.run(_run(messages, requests))


async def _run(messages: int, requests: int) -> Table:
    table = Table(
        f"Sync now, {requests} requests, {ACCOUNTS} accounts", ["", "p50", "p99", "most", "answers"]
    )
    for title, command in (("one process", "up"), ("an executor beside it", "serve")):
        async with AsyncExitStack() as stack:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "data"
            lab = await stack.enter_async_context(_lab_of(messages))
            client = await Client.opened(await stack.enter_async_context(started(command, home)))
            if command == "serve":
                await stack.enter_async_context(_running(*COMMAND, "executor", "--data", str(home)))
            accounts = [await _connected(client, lab, number) for number in range(ACCOUNTS)]
            while not (await _overview(client))["running"]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            await _measure(table, title, client, accounts, requests)
            busy = (await _overview(client))["running"]
            table.note(f"{title}: {busy} first syncs still ran at the end of that.")
            client.close()
    return table


async def _measure(table: Table, title: str, client: Client, accounts: Sequence[str], requests: int) -> None:
    times: list[float] = []
    answers: Counter[int] = Counter()
    began = time.perf_counter()
    for turn, account in zip(range(-COLD, requests), cycle(accounts), strict=False):
        await asyncio.sleep(max(0.0, began + (turn + COLD) / RATE - time.perf_counter()))
        asked = time.perf_counter()
        status, _ = await client.ask("POST", f"/v1/accounts/{account}/sync")
        if turn >= 0:
            times.append(time.perf_counter() - asked)
            answers[status] += 1
    times.sort()
    p99 = times[int(0.99 * len(times))]
    shown = [f"{value * 1000:.1f} ms" for value in (times[len(times) // 2], p99, times[-1])]
    table.add(title, *shown, ", ".join(f"{count} x {status}" for status, count in answers.items()))
    table.note(
        f"{title}: p99 {p99 * 1000:.1f} ms (goal {GOAL * 1000:.0f}, {'reached' if p99 < GOAL else 'missed'})."
    )


async def _connected(client: Client, lab: int, number: int) -> str:
    """The id of a new account, of which a first sync has been asked for."""
    wanted = {
        "address": f"bench{number}@lab.example",
        "password": PASSWORD,
        "server": f"imap://127.0.0.1:{lab}",
        "starttls": "off",
    }
    status, made = await client.ask("POST", "/v1/accounts", wanted)
    assert status == 201, made
    return str(made["account"]["id"])


async def _overview(client: Client) -> Any:
    return (await client.ask("GET", "/v1/jobs/overview"))[1]


@asynccontextmanager
async def _lab_of(messages: int) -> AsyncIterator[int]:
    """The port of a mail server of its own process."""
    async with _running(sys.executable, "-m", "bench.sync_now", "--lab", str(messages)) as process:
        assert process.stdout is not None
        yield int(await process.stdout.readline())


@asynccontextmanager
async def _running(*words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process, while the block runs."""
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    try:
        yield process
    finally:
        process.terminate()
        await process.communicate()


async def _lab(messages: int) -> None:
    async with serve(messages=messages) as server:
        for number in range(ACCOUNTS):
            server.accounts[f"bench{number}@lab.example"] = server.mailbox
        print(server.port, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("-n", "--messages", type=int, default=5000, help="of each account")
    options.add_argument("-r", "--requests", type=int, default=500)
    options.add_argument("--lab", type=int, metavar="MESSAGES", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.lab:
        uvloop.run(_lab(chosen.lab))
        return
    print(f"{machine()}\n", flush=True)
    print(run(chosen.messages, chosen.requests), flush=True)


if __name__ == "__main__":
    main()
