"""What it takes to know who asks: a token of an issuer, a session, an API key.

    python -m bench.tokens

Warm: the issuer's keys are in memory, and who the person is here is remembered for a minute, as between a
person's requests. A session and a key are looked up each time, so that one that was revoked opens nothing.
Beside it: what the signature alone takes in the library that checks it.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import uvloop
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256
from servers.issuer import Issuer, key

from bench.report import Table, machine
from postroom.db.embedded.client import running
from postroom.db.migrate import migrate
from postroom.db.pool import open_pool
from postroom.errors import PostroomError
from postroom.people import keys, sessions
from postroom.people.entrance import Entrance
from postroom.people.jwks import Jwks
from postroom.people.tokens import Issuers

ASKED = 5000  # times
COLD = 100  # before, which do not count
GOAL = 0.001  # seconds


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of each, in order of size; and on average of this process's processor, whoever else is busy."""

    times: list[float]
    ours: float

    def at(self, part: float) -> float:
        return self.times[int(part * len(self.times))]


async def timed(ask: Callable[[], Awaitable[object]]) -> Took:
    times = []
    for asked in range(COLD + ASKED):
        if asked == COLD:
            spent = time.process_time()
        began = time.perf_counter()
        await ask()
        times.append(time.perf_counter() - began)
    return Took(sorted(times[COLD:]), (time.process_time() - spent) / ASKED)


async def refused(entrance: Entrance, token: str) -> None:
    try:
        await entrance.find(token)
    except PostroomError:
        return
    raise AssertionError("a forged token was believed")


async def bare() -> None:
    """The signature and nothing else."""
    key("one").public_key().verify(SIGNATURE, b"said", padding.PKCS1v15(), SHA256())


SIGNATURE = key("one").sign(b"said", padding.PKCS1v15(), SHA256())


async def measure() -> Table:
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder, "data"), ["fsync=off"]) as dsn, Issuer().running() as issuer:
            await migrate(dsn)
            async with open_pool(dsn) as database:
                tenant = await keys.our_tenant(database)
                _, text = await keys.create(database, tenant, "bench")
                link = await sessions.new_link(database, tenant)
                session = await sessions.open_session(database, link.text)
                entrance = Entrance(database, Issuers({issuer.name: Jwks(issuer.settings())}))
                token = issuer.token(exp=int(time.time()) + 3600)
                forged = token[:-8] + "AAAAAAAA"
                return _shown(
                    {
                        "a token": await timed(lambda: entrance.find(token)),
                        "a forged token": await timed(lambda: refused(entrance, forged)),
                        "a session": await timed(lambda: entrance.find(session)),
                        "a key": await timed(lambda: entrance.find(text)),
                        "the signature alone": await timed(bare),
                    }
                )


def _shown(took: dict[str, Took]) -> Table:
    heads = ["", "p50", "p99", "processor time here"]
    table = Table(f"Who asks? {ASKED:,} times each, one after the other; {machine()}", heads)
    for what, each in took.items():
        table.add(what, *(f"{value * 1e6:,.0f} us" for value in (each.at(0.5), each.at(0.99), each.ours)))
    p99 = took["a token"].at(0.99)
    table.note(f"A token: p99 {p99 * 1000:.2f} ms (goal 1, {'reached' if p99 < GOAL else 'missed'}).")
    return table


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(runner.run(measure()))
