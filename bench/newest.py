"""How soon the newest 200 messages of a mailbox can be read and found, once it is connected.

`postroom up` runs on a new data folder; the mailbox is connected by `POST /v1/accounts`, and its own polling
makes the first sync. The clock starts with the answer to that, and stops when the API lists as many messages
as are not older than the 200th newest, and the search finds those that came after that one's day (it knows
days only). Both are asked again and again.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import count
from pathlib import Path
from urllib.parse import quote

import uvloop
from servers.dovecot import Dovecot

from bench.ours import Client, started
from bench.report import Table, spread
from postroom.lab.mails import received_at

NEWEST = 200
GOAL, STRETCH = 1.0, 0.3  # seconds
LOOK = 0.01  # seconds between two questions


@dataclass(frozen=True, slots=True)
class Soon:
    """Seconds after the mailbox was connected."""

    inbox: float  # the newest 200 of the inbox are listed
    listed: float  # the newest 200 of all folders are listed
    found: float  # and found
    connected: float  # how long connecting took, before the clock started


def run(server: Dovecot, users: Mapping[int, str], seed: int, runs: int) -> Table:
    """`users`: mailboxes by how many messages they hold, the same for the same seed."""
    table = Table(
        f"Newest {NEWEST} messages after a mailbox was connected, seconds, {runs} runs each, alternating",
        [
            "messages",
            "connecting",
            f"newest {NEWEST} of the inbox",
            "of all folders, listed",
            "and searchable",
        ],
    )
    soon: dict[int, list[Soon]] = {size: [] for size in users}
    for _ in range(runs):
        for size, user in users.items():
            soon[size].append(uvloop.run(_once(server, user, size, seed)))
    for size, times in soon.items():
        table.add(f"{size:,}", *(spread(each) for each in _columns(times)))
        worst = sorted(max(one.listed, one.found) for one in times)[len(times) // 2]
        said = "reached" if worst < GOAL else "missed"
        table.note(f"{size:,} messages: {worst:.2f} s (goal {GOAL:g}, stretch {STRETCH:g}: {said}).")
    return table


def _columns(times: Sequence[Soon]) -> Iterator[list[float]]:
    for name in ("connected", "inbox", "listed", "found"):
        yield [getattr(one, name) for one in times]


async def _once(server: Dovecot, user: str, size: int, seed: int) -> Soon:
    oldest = received_at(seed, size - NEWEST)
    day = oldest.date() + timedelta(days=1)
    found = next(n for n in count() if received_at(seed, size - n - 1).date() < day)
    with tempfile.TemporaryDirectory(prefix="postroom-bench-") as folder:
        async with started("up", Path(folder)) as up:
            client = await Client.opened(up)
            began = time.perf_counter()
            await _connect(client, server, user)
            clock = time.perf_counter()
            try:
                times = await _watched(client, _questions(oldest, day, found), clock)
            finally:
                client.close()
            return Soon(times["inbox"], times["listed"], times["found"], clock - began)


async def _connect(client: Client, server: Dovecot, user: str) -> None:
    wanted = {
        "address": f"{user}@example.org",
        "username": user,
        "password": server.password,
        "server": f"imap://{server.host}:{server.port}",
        "starttls": "off",
    }
    status, made = await client.ask("POST", "/v1/accounts", wanted)
    assert status == 201, made


def _questions(oldest: datetime, day: date, found: int) -> Mapping[str, tuple[str, int]]:
    """What is asked, and how many there are to be."""
    after = quote(f"{oldest:%Y-%m-%dT%H:%M:%SZ}")
    return {
        "inbox": ("/v1/mail/messages?folder=INBOX&page_size=1", NEWEST),
        "listed": (f"/v1/mail/messages?after={after}&page_size=1", NEWEST),
        "found": (f"/v1/search?limit=1&q={quote(f'after:{day}')}", found),
    }


async def _watched(
    client: Client, questions: Mapping[str, tuple[str, int]], clock: float
) -> dict[str, float]:
    times: dict[str, float] = {}
    while len(times) < len(questions):
        for name in questions.keys() - times.keys():
            path, wanted = questions[name]
            status, answer = await client.ask("GET", path)
            # Before there is a folder, nothing is called that.
            if status == 200 and answer["total"] >= wanted:
                times[name] = time.perf_counter() - clock
        await asyncio.sleep(LOOK)
    return times
