"""`python -m bench.sync_now`: how soon `POST /v1/accounts/{id}/sync` answers while its process syncs.

`postroom up` is one process, whose executor copies all accounts for the first time; then the same again with
`postroom serve` and `postroom executor`. The mail server is another process; this one asks, for one account
after another. A time is that from the request to the answer's end.
"""

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Self

import uvloop

from bench.report import Table, machine
from postroom.lab.server import PASSWORD, serve

ACCOUNTS = 6
RATE = 50.0  # requests a second
COLD = 20  # that come first, and find connections to open and statements to prepare
GOAL = 0.02  # seconds
URL = re.compile(rb"http://127\.0\.0\.1:(\d+)")


@dataclass(slots=True)
class Client:
    """One connection to the API. A whole HTTP client would take as long as what is measured."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    key: str

    @classmethod
    async def opened(cls, port: int, key: str) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", port), key)

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        """The status and the document of the answer."""
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self.key}\r\n"
        more = f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        self.writer.write((head + more).encode("ascii") + data)
        answer = (await self.reader.readuntil(b"\r\n\r\n")).decode("ascii").lower()
        length = int(answer.partition("content-length: ")[2].partition("\r\n")[0])
        return int(answer.split(" ")[1]), json.loads(await self.reader.readexactly(length))


def run(messages: int, requests: int) -> Table:
    """So many requests, while accounts of so many messages each are copied."""
    return uvloop.run(_run(messages, requests))


async def _run(messages: int, requests: int) -> Table:
    table = Table(
        f"Sync now, {requests} requests, {ACCOUNTS} accounts", ["", "p50", "p99", "most", "answers"]
    )
    for title, starts in (("one process", ("--up",)), ("an executor beside it", ("--serve", "--executor"))):
        async with AsyncExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            lab = await stack.enter_async_context(_started("--lab", str(messages)))
            port, *_ = [await stack.enter_async_context(_started(what, folder)) for what in starts]
            client = await Client.opened(port, _key(folder))
            accounts = [await _connected(client, lab, number) for number in range(ACCOUNTS)]
            while not (await _overview(client))["running"]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            await _measure(table, title, client, accounts, requests)
            busy = (await _overview(client))["running"]
            table.note(f"{title}: {busy} first syncs still ran at the end of that.")
            client.writer.close()
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


def _key(folder: str) -> str:
    return Path(folder, "data", "api.key").read_text().strip()


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
async def _started(what: str, given: str) -> AsyncIterator[int]:
    """The port of a process of its own, 0 if it has none."""
    if what == "--lab":
        command = ["-m", "bench.sync_now", what, given]
    else:
        command = ["-m", "postroom.cli", what.strip("-"), "--data", str(Path(given, "data"))]
        command += ["--port", "0"] if what != "--executor" else []
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    try:
        found = None
        while what != "--executor" and found is None:
            found = URL.search(line := await process.stdout.readline())
            assert line, "it has ended"
        yield int(found[1]) if found else 0
    finally:
        process.terminate()
        await process.communicate()


async def _lab(messages: int) -> None:
    async with serve(messages=messages) as server:
        for number in range(ACCOUNTS):
            server.accounts[f"bench{number}@lab.example"] = server.mailbox
        print(f"http://127.0.0.1:{server.port}", flush=True)
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
