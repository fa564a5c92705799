"""How soon `postroom up` and `postroom serve` answer on a data folder that was used before; `/health` then.

The clock starts with the process and stops with its first answer, `GET /health`, and then with the first that
needs the database and a key, `GET /v1/accounts`. The embedded PostgreSQL is started anew each time. Then one
client asks for `/health` again and again; nothing else goes on in the process.
"""

import time
from pathlib import Path

import uvloop

from bench.ours import Client, started
from bench.report import Table, spread

FIRST, HEALTH = 1.0, 0.002  # seconds
ASKED = 2000  # times
COLD = 50  # of which these do not count


def run(home: Path, runs: int) -> Table:
    table = Table(
        f"Start-up on an existing data folder, {runs} runs each, alternating",
        ["command", "seconds to the first answer", "to the list of accounts", "`/health` p50", "p99"],
    )
    first: dict[str, list[float]] = {"up": [], "serve": []}
    known: dict[str, list[float]] = {"up": [], "serve": []}
    health: dict[str, list[float]] = {"up": [], "serve": []}
    for _ in range(runs):
        for command in first:
            one, two, times = uvloop.run(_once(command, home))
            first[command].append(one)
            known[command].append(two)
            health[command] += times
    for command, times in health.items():
        times.sort()
        p50, p99 = times[len(times) // 2], times[int(0.99 * len(times))]
        seconds = sorted(known[command])[len(known[command]) // 2]
        shown = f"{p50 * 1000:.2f} ms", f"{p99 * 1000:.2f} ms"
        table.add(f"postroom {command}", spread(first[command]), spread(known[command]), *shown)
        table.note(
            f"{command}: {seconds:.2f} s (goal {FIRST:g}, {'reached' if seconds < FIRST else 'missed'}); "
            f"p99 {p99 * 1000:.2f} ms (goal {HEALTH * 1000:g}, {'reached' if p99 < HEALTH else 'missed'})."
        )
    return table


async def _once(command: str, home: Path) -> tuple[float, float, list[float]]:
    async with started(command, home) as up:
        client = await Client.opened(up)
        first = time.perf_counter() - up.began
        status, _ = await client.ask("GET", "/v1/accounts")
        known = time.perf_counter() - up.began
        assert status == 200
        times = []
        for _ in range(ASKED):
            asked = time.perf_counter()
            status, _ = await client.ask("GET", "/health")
            times.append(time.perf_counter() - asked)
            assert status == 200
        client.close()
        return first, known, times[COLD:]
