"""A million messages of fifty tenants: lists, searches, and what storing more of them takes.

    read     GET /v1/mail/messages and GET /v1/search, asked of the whole application in this process by a
             client of HTTP, one at a time: key, transaction, row-level security, JSON, compression and all
    growth   the product's own write path: mails read, stored in transactions of a hundred, and settled,
             beside a database of 10,000 messages in the same PostgreSQL, by turns

`multiply` makes the databases and says what in them is real. PostgreSQL is the embedded one with its own
settings, but for fsync. The tenants asked are random ones; the first has a tenth of all mail and is asked
apart.

POSTROOM_BENCH_KEEP=FOLDER keeps the large database there, and uses one that an earlier run has left: to fill
it takes longer than all the rest. It is brought to the present schema, and growth stores mails that no run
has stored before.
"""

import asyncio
import random
import secrets
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import uvloop

from bench import multiply
from bench.filled import Filled, cluster, filled
from bench.multiply import TENANTS, Spent
from bench.report import Table, spread
from postroom import telemetry
from postroom.api.app import create_app
from postroom.api.live import live
from postroom.db.listen import open_hints
from postroom.net.egress import Egress
from postroom.people import keys
from postroom.providers.registry import Registry
from postroom.settings import Settings
from postroom.vault.seal import Key, Vault

SMALL = 10_000  # messages that growth counts from
MORE = 2500  # mails stored in one round: so many that a sync makes statistics meanwhile
TIMES = 150  # requests of each kind
TICKS = 100  # of /proc, a second
BACKENDS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
LIST_GOAL, SEARCH_GOAL, GROWTH_GOAL = 10.0, 50.0, 1.2  # ms, ms, times

Params = Mapping[str, str]
Ask = Callable[[random.Random], Params]


def _word(lowest: int, highest: int) -> Callable[[random.Random], str]:
    """One of the words of these ranks; the first is the most frequent one."""
    letters = str.maketrans("0123456789", "bcdfghjklm")
    return lambda rng: "q" + str(rng.randint(lowest, highest)).translate(letters)


COMMON, USUAL, SELDOM, RARE = _word(1, 10), _word(20, 100), _word(500, 2000), _word(50_000, 199_999)
SENDERS = (
    "en.0@mail.example",
    "de.3@mail.example",
    "ja.1@post.example",
    "fr.5@office.example",
    "ko.2@office.example",
)
NAMES = ("brown", "müller", "山田太郎", "lefèvre", "okafor", "kettle")

LISTS: Mapping[str, Ask] = {
    "the newest 50": lambda _: {},
    "page 20": lambda _: {"page": "20"},
    "of INBOX, half of all": lambda _: {"folder": "INBOX"},
    "of a folder, one of eleven": lambda _: {"folder": "Archive"},
    "unread": lambda _: {"read": "false"},
    "unread, of INBOX": lambda _: {"read": "false", "folder": "INBOX"},
    "starred": lambda _: {"starred": "true"},
    "from one sender": lambda rng: {"from": rng.choice(SENDERS)},
    "from nobody known": lambda _: {"from": "nobody@bench.example"},
    "with attachments": lambda _: {"has_attachment": "true"},
    "by sender": lambda _: {"sort_by": "sender"},
}
SEARCHES: Mapping[str, Ask] = {
    "one common word": lambda rng: {"q": COMMON(rng)},
    "one usual word": lambda rng: {"q": USUAL(rng)},
    "two common words": lambda rng: {"q": f"{COMMON(rng)} {COMMON(rng)}"},
    "two usual words": lambda rng: {"q": f"{USUAL(rng)} {USUAL(rng)}"},
    "a phrase, frequent": lambda _: {"q": '"best regards"'},
    "a phrase of common words, seldom": lambda rng: {"q": f'"{COMMON(rng)} {COMMON(rng)}"'},
    "from:": lambda rng: {"q": f"from:{rng.choice(NAMES)}"},
    "from: and a word": lambda rng: {"q": f"from:{rng.choice(NAMES)} {USUAL(rng)}"},
    "subject: and a word": lambda rng: {"q": f"subject:invoice {USUAL(rng)}"},
    "is:unread and a word": lambda rng: {"q": f"is:unread {USUAL(rng)}"},
    "in:inbox and a word": lambda rng: {"q": f"in:inbox {USUAL(rng)}"},
    "no hit": lambda _: {"q": "nowhere"},
    "a seldom word": lambda rng: {"q": SELDOM(rng)},
    "a rare word": lambda rng: {"q": RARE(rng)},
    "a date and a word": lambda rng: {"q": f"newer:1y {USUAL(rng)}"},
}


@dataclass(slots=True)
class Times:
    """Milliseconds that answers took, by what was asked; and of processor time, one's mean."""

    ordinary: dict[str, list[float]] = field(default_factory=dict)
    largest: dict[str, list[float]] = field(default_factory=dict)
    used: dict[str, float] = field(default_factory=dict)

    def table(self, title: str, goal: float) -> Table:
        shares = [f"{tenant} p{p}" for tenant in ("a tenant", "the largest") for p in (50, 95)]
        table = Table(title, ["asked for, ms", *shares, "processor, a tenant", "the largest"])
        for kind, times in self.ordinary.items():
            most = self.largest[kind]
            parts = [part(of, share) for of in (times, most) for share in (0.5, 0.95)]
            used = [self.used[kind], self.used[f"{kind}, largest"]]
            table.add(kind, *(f"{value:.1f}" for value in (*parts, *used)))
        for name, kinds in (("All kinds", self.ordinary), ("Of the largest tenant", self.largest)):
            p95 = part([one for times in kinds.values() for one in times], 0.95)
            slow = [kind for kind, times in kinds.items() if part(times, 0.95) >= goal]
            table.note(
                f"{name}: p95 {p95:.1f} ms (goal {goal:g} ms, {'reached' if p95 < goal else 'missed'});"
                f" above it by themselves: {', '.join(slow) or 'none'}."
            )
        return table


def part(times: Sequence[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(share * len(times)))]


def run(count: int, rounds: int) -> str:
    with tempfile.TemporaryFile("w") as log:
        telemetry.set_up(stream=log, for_people=False)
        return "\n".join(map(str, uvloop.run(_run(count, rounds))))


async def _run(count: int, rounds: int) -> list[Table]:
    async with cluster() as server, filled(server, f"messages_{count}", count) as large:
        await asyncio.to_thread(_warm, await large.owner.fetchval("SHOW data_directory"))
        tables = await _read(large, count)
        async with filled(server, "small", SMALL, anew=True) as small:
            return [*tables, await _growth(small, large, count, rounds)]


def _warm(data: str) -> None:
    """Read all files of the cluster once, as far as memory goes: nobody's pages come from the disk then."""
    for path in Path(data, "base").rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.read(1 << 20):
                    pass


async def _read(large: Filled, count: int) -> list[Table]:
    db, mailboxes = large.db, large.mailboxes
    vault = Vault([Key.derived(secrets.token_bytes(32))])
    async with open_hints(db) as hints, live(db, hints) as news:
        unlimited = Settings(rate_limit_per_minute=0)
        app = create_app(db, unlimited, vault, Registry(Egress(private_allowed=True)), news)
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://bench") as client:
            callers = [
                {"Authorization": f"Bearer {(await keys.create(db, one.tenant, 'bench'))[1]}"}
                for one in mailboxes
            ]
            lists, searches = Times(), Times()
            asked = [
                *(
                    (lists, kind, partial(_asked, client, "mail/messages", ask))
                    for kind, ask in LISTS.items()
                ),
                (lists, "by cursor, from the middle on", partial(_deep, client)),
                *((searches, kind, partial(_asked, client, "search", ask)) for kind, ask in SEARCHES.items()),
            ]
            for times, kind, ask in asked:
                for found, name, of in (
                    (times.ordinary, kind, callers[1:]),
                    (times.largest, f"{kind}, largest", callers[:1]),
                ):
                    before = await _processor(large.owner)
                    found[kind] = await ask(of)
                    used = 1000 * (await _processor(large.owner) - before)
                    times.used[name] = used / len(found[kind])
    title = f"of {count:,} messages of {TENANTS} tenants"
    return [lists.table(f"Lists {title}", LIST_GOAL), searches.table(f"Searches {title}", SEARCH_GOAL)]


async def _asked(client: httpx2.AsyncClient, path: str, ask: Ask, callers: Sequence[Params]) -> list[float]:
    """What each request took, after one that is not counted."""
    rng = random.Random(path)
    times = []
    for _ in range(TIMES + 1):
        caller, params = rng.choice(callers), ask(rng)
        began = time.perf_counter()
        await _get(client, f"/v1/{path}", caller, params)
        times.append(1000 * (time.perf_counter() - began))
    return times[1:]


async def _deep(client: httpx2.AsyncClient, callers: Sequence[Params]) -> list[float]:
    """Pages by cursor, from the middle of all mail on, or of what page numbers reach."""
    times, rng = list[float](), random.Random(1)
    while len(times) < TIMES:
        caller = rng.choice(callers)
        first = await _get(client, "/v1/mail/messages", caller, {"page_size": "100"})
        middle = str(max(1, first["total"] // 200))
        cursor = (await _get(client, "/v1/mail/messages", caller, {"page_size": "100", "page": middle}))[
            "next"
        ]
        for _ in range(10):
            if cursor is None:
                break
            began = time.perf_counter()
            cursor = (await _get(client, "/v1/mail/messages", caller, {"cursor": cursor}))["next"]
            times.append(1000 * (time.perf_counter() - began))
    return times


async def _processor(owner: asyncpg.Connection) -> float:
    """Seconds of processor time that this process and PostgreSQL's have used for this database."""
    backends = [Path(f"/proc/{row[0]}/stat") for row in await owner.fetch(BACKENDS)]
    fields = [path.read_text().rpartition(")")[2].split() for path in backends if path.exists()]
    return time.process_time() + sum(int(of[11]) + int(of[12]) for of in fields) / TICKS


async def _get(client: httpx2.AsyncClient, path: str, caller: Params, params: Params) -> dict[str, Any]:
    answer = await client.get(path, params=dict(params), headers=dict(caller))
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


async def _growth(small: Filled, large: Filled, count: int, rounds: int) -> Table:
    """Seconds per 1,000 messages, here and there by turns; the same mails, new to both."""
    spent: dict[str, list[Spent]] = {"small": [], "large": []}
    for number in range(rounds):
        first = max(multiply.MOST_TEMPLATES, await multiply.stored(large.owner))
        sides = [("small", small), ("large", large)]
        for name, side in sides if number % 2 else reversed(sides):
            mailbox = side.mailboxes[1 + number % (TENANTS - 1)]
            spent[name].append(await multiply.store(side.db, side.owner, mailbox, first, MORE))
    table = Table(
        f"Growth: {MORE:,} mails stored, {rounds} rounds, at {count:,} messages against {SMALL:,}",
        ["step", f"s per 1,000 at {SMALL:,}", f"at {count:,}", "times"],
    )
    steps: dict[str, Callable[[Spent], float]] = {
        "reading": lambda one: one.reading,
        "storing": lambda one: one.storing,
        "settling, the index of words sorted at last": lambda one: one.settling,
        "all": lambda one: one.reading + one.storing + one.settling,
    }
    for name, of in steps.items():
        before, after = ([1000 / MORE * of(one) for one in spent[side]] for side in ("small", "large"))
        ratios = [b / a for a, b in zip(before, after, strict=True)]
        table.add(name, spread(before, 3), spread(after, 3), spread(ratios))
    reached = "reached" if sorted(ratios)[len(ratios) // 2] <= GROWTH_GOAL else "missed"
    table.note(f"All together at most {GROWTH_GOAL:g} times: {reached}.")
    return table
