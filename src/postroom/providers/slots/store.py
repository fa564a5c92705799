"""All SQL over connections to mail servers. Each statement but `learnt` is a transaction, and looks across
tenants.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from asyncpg import Connection

from postroom.ids import AccountId, TenantId
from postroom.providers.target import Purpose, Target

Key = tuple[TenantId, AccountId, int]


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a question: `verdict` is granted, waiting, full or gone (see migration 0031)."""

    verdict: str
    processes: Sequence[str]  # that have the account's connections
    wanted: Sequence[int]  # of watchers, which are to be given back


ASK = """
    SELECT verdict, coalesce(processes, '{}') AS processes, coalesce(wanted, '{}') AS wanted
      FROM providers_ask($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ORDER BY nr
"""


@dataclass(frozen=True, slots=True)
class Question:
    """Who asks for which purpose; the rest is told in migration 0031."""

    process: str
    purpose: Purpose
    of_host: int
    dead: Sequence[str] = ()
    insists: bool = False
    waits: bool = True


async def ask(
    conn: Connection, wishes: Sequence[tuple[Target, int, int]], question: Question
) -> list[Answer]:
    """One answer for each wish: of whom, by which id, and how many there may be."""
    found = await conn.fetch(
        ASK,
        [target.tenant for target, _, _ in wishes],
        [target.account for target, _, _ in wishes],
        [number for _, number, _ in wishes],
        [target.host for target, _, _ in wishes],
        [ceiling for _, _, ceiling in wishes],
        question.process,
        str(question.purpose),
        question.of_host,
        question.dead,
        question.insists,
        question.waits,
    )
    return [Answer(*row) for row in found]


GIVE_BACK = "SELECT tenant_id, account_id FROM providers_give_back($1, $2, $3)"


async def give_back(conn: Connection, keys: Sequence[Key]) -> list[tuple[TenantId, AccountId]]:
    """The accounts of which somebody waits for one."""
    tenants, accounts, ids = zip(*keys, strict=True)
    return [tuple(row) for row in await conn.fetch(GIVE_BACK, tenants, accounts, ids)]


LEARN = "SELECT providers_learn($1, $2, $3)"


async def learn(conn: Connection, target: Target, lasts: timedelta) -> int:
    """For so long there will be one less than there are now; how many those are, with the refused one."""
    return int(await conn.fetchval(LEARN, target.tenant, target.account, lasts))


LEARNT = """
    SELECT connections FROM providers_limit WHERE tenant_id = $1 AND account_id = $2 AND expires_at > now()
"""


async def learnt(conn: Connection, tenant: TenantId, account: AccountId) -> int | None:
    """How many connections the account's server allows it at present; None: it has refused none."""
    most: int | None = await conn.fetchval(LEARNT, tenant, account)
    return most


SWEEP = "SELECT providers_sweep()"


async def sweep(conn: Connection) -> int:
    """Forget connections of processes that are gone; how many."""
    return int(await conn.fetchval(SWEEP))
