"""`make bench N=200000 ARGS=paging`: the log read by `GET /v1/events` from one server process.

The server is a process of its own, as `postroom serve` runs it; the readers are in this one, read each answer
to its end, take the next cursor from it, and do nothing else with it. Then the same with a filter that
nothing fits, which shows what passing over events costs. The floor is the same rows read by the feed itself,
without HTTP, in this process.
"""

import asyncio
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx2
import uvloop

from bench.log import append
from bench.report import Table, ratio, spread
from bench.streams import MAKE, TENANT, memory, processor, server
from postroom.db.beside import alone
from postroom.db.embedded.client import running
from postroom.db.listen import open_hints
from postroom.db.migrate import migrate
from postroom.db.pool import Database, open_pool
from postroom.events import feed
from postroom.people import keys

GOAL = 20_000  # events a second
PAGE = 1000
READERS = (1, 4)
NEXT = re.compile(rb'"next":"([^"]+)","has_more":(true|false)')
ENTRY = b'{"cursor":'


@dataclass(frozen=True, slots=True)
class Server:
    process: int
    client: httpx2.AsyncClient


def run(events: int, rounds: int) -> Table:
    return uvloop.run(_run(events, rounds))


async def _run(events: int, rounds: int) -> Table:
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder, "data"), ["fsync=off"]) as dsn:
            await migrate(dsn)
            conn = await asyncpg.connect(dsn)
            await conn.execute(MAKE)
            async with open_pool(dsn, size=1) as db, open_hints(db):
                await append(db, events)
                _, key = await keys.create(db, TENANT, "bench")
                await conn.execute("VACUUM ANALYZE postroom.events_event")
                await conn.close()
                async with server(dsn, module="bench.streams") as (process, port):
                    headers = {"Authorization": f"Bearer {key}", "Accept-Encoding": "identity"}
                    url = f"http://127.0.0.1:{port}"
                    async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
                        return await _measured(Server(process, client), db, events, rounds)


async def _measured(at: Server, db: Database, events: int, rounds: int) -> Table:
    heads = ["", "events a second", "the server's processor, each", "its memory"]
    table = Table(f"The log of {events:,} events in pages of {PAGE:,} by HTTP, {rounds} rounds", heads)
    table.add(
        "floor: the feed itself, without HTTP", spread([await _floor(db) for _ in range(rounds)], 0), "", ""
    )
    slowest = 0.0
    for readers in READERS:
        rates, used = await _rates(at, readers, rounds, {})
        slowest = min(rates) if readers == 1 else slowest
        _tell(table, f"all, {readers} at a time", at, rates, used)
    _tell(
        table,
        "of a kind that there is not",
        at,
        *await _rates(at, 1, rounds, {"types": "mail.moved"}, events),
    )
    table.note(
        f"One reader against {GOAL:,} events a second: {ratio(slowest / GOAL, goal=1)}, the slowest round."
    )
    return table


def _tell(table: Table, title: str, at: Server, rates: list[float], used: float) -> None:
    table.add(title, spread(rates, 0), f"{used * 1e6:.0f} us", f"{memory(at.process) / 2**20:.0f} MB")


async def _rates(
    at: Server, readers: int, rounds: int, asked: dict[str, str], passed: int = 0
) -> tuple[list[float], float]:
    """Events a second in each round, of all readers together; the server's processor time of one event."""
    rates, total, used = [], 0, processor(at.process)
    for _ in range(rounds):
        began = time.perf_counter()
        counts = await _together(at, readers, asked)
        seen = sum(counts) + passed
        rates.append(seen / (time.perf_counter() - began))
        total += seen
    return rates, (processor(at.process) - used) / total


async def _together(at: Server, readers: int, asked: dict[str, str]) -> list[int]:
    with alone():
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_read(at.client, asked)) for _ in range(readers)]
    return [task.result() for task in tasks]


async def _read(client: httpx2.AsyncClient, asked: dict[str, str]) -> int:
    """From the first event to the last; how many there were."""
    after, count, has_more = "start", 0, True
    while has_more:
        answer = await client.get("/v1/events", params={"after": after, "limit": str(PAGE), **asked})
        found = NEXT.search(answer.content, max(0, len(answer.content) - 500))
        assert found, answer.text[:500]
        after, has_more = found[1].decode(), found[2] == b"true"
        count += answer.content.count(ENTRY)
    return count


async def _floor(db: Database) -> float:
    place, count, began = feed.START, 0, time.perf_counter()
    while True:
        async with db.transaction(TENANT, lasting_plans=True) as conn:
            page = await feed.read(conn, TENANT, place, limit=PAGE)
        if not page:
            return count / (time.perf_counter() - began)
        place, count = feed.place_of(page[-1]), count + len(page)
