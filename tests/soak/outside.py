"""The lane of real processes: an installation with several mailboxes, whose every part is killed or cut off.

others change the mailboxes   `up` and `sync` copy them   we kill, cut, stall and stop, several a second
quiet point: `up` is stopped in good order, one sync each, and the copies are judged as everywhere
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

import asyncpg
from histories.history import History, Wrong, world_of
from histories.model import World
from histories.playing import Player
from histories.proxy import Break, Plan, Proxy, proxy
from histories.sides import LabSide, Side, dovecot_side
from servers.dovecot import Dovecot
from servers.tenants import ONE
from soak.killing import Commands
from soak.lanes import Lane

from postroom.accounts.connect import Wish, connect
from postroom.accounts.model import Account, Scope
from postroom.db.embedded.client import running
from postroom.db.migrate import migrate
from postroom.db.pool import open_pool
from postroom.errors import PostroomError
from postroom.lab.server import serve
from postroom.net.egress import Egress
from postroom.people import keys
from postroom.providers.registry import Registry
from postroom.sync.halt import begin_anew
from postroom.sync.perform import Means, perform
from postroom.sync.run import Manner
from postroom.vault import keys as vault_keys

MODES = ("qresync", "condstore", "plain", "objectid")
ROUND_SECONDS = 40.0
QUICK = (Break.RESET, Break.CLOSE, Break.STALL, Break.PAUSE)
LONGEST_STALL = 2.0  # seconds, but for one in a hundred, which is longer than our patience
HALF_OPEN = 75.0
KILLED = 0.12  # how often, of all times that something happens; a command needs a second to begin
EVERY = timedelta(minutes=15)
DUE = "UPDATE postroom.accounts_account SET next_sync_at = now(), failures = 0"


class Outside(History):
    """A history whose syncs run in processes. `means` work at quiet points only."""

    def __init__(self, side: Side, world: World, means: Means, account: Account, line: Proxy) -> None:
        super().__init__(side, world, means.db, account)
        self.means, self.line, self.dsn = means, line, means.db.dsn

    def meet(self, means: Means) -> None:
        """A quiet point begins: there is a database to look at."""
        self.means, self._judge = means, means.db

    async def undisturbed(self) -> str | None:
        try:
            outcome = await perform(
                self.means, self._account, every=EVERY, grace=timedelta(0), full=self.full
            )
        except PostroomError as error:
            return f"{error.code}: {error.message}"
        if outcome.status == "success" and not outcome.counts.skipped:
            return None
        return f"{outcome.status}: {outcome.error!r}, skipped: {outcome.counts.skipped}"


async def outside(lane: Lane, seed: int, folder: Path, dovecot: Dovecot) -> None:
    """One installation, for the rounds of one history."""
    dice = random.Random(seed)
    commands = Commands(folder / str(seed))
    async with AsyncExitStack() as stack:
        sides = [await stack.enter_async_context(_lab(seed, mode)) for mode in MODES]
        sides += [await stack.enter_async_context(dovecot_side(dovecot)) for _ in range(2)]
        async with at_home(commands.data) as means:
            ones = [await _connected(stack, means, side, n) for n, side in enumerate(sides)]
        players = [Player(one, dice.randrange(1 << 31)) for one in ones]
        stack.push_async_callback(_ended, commands)
        both = _Both(ones)
        await lane.rounds(both, lambda: _round(commands, dice, ones, players, both))


class _Both(History):
    """What is done to all of an installation's mailboxes together; only its faults are of interest."""

    def __init__(self, ones: list[Outside]) -> None:
        first = ones[0]
        super().__init__(first._side, first.world, first._judge, first._account)


async def _round(
    commands: Commands,
    dice: random.Random,
    ones: list[Outside],
    players: list[Player],
    both: History,
) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + ROUND_SECONDS
    while loop.time() < end:
        await commands.keep_up()
        await _let_polls_fall_due(ones[0].dsn)
        if dice.random() < 0.15:
            await commands.sync()
        for player in dice.sample(players, 2):
            await player.change()
        one = dice.choice(ones)
        if dice.random() < 0.7:
            _break(one.line, dice, both)
        if dice.random() < KILLED and (killed := await commands.kill(dice)) is not None:
            both.faults.add(killed)
        await asyncio.sleep(dice.random() * 0.4)
    for one in ones:
        one.line.plan = None
        for _ in range(one.line.broken):
            both.faults.add("cut")
        one.line.broken = 0
    await _quiet(commands, ones)


def _break(line: Proxy, dice: random.Random, both: History) -> None:
    """Now, or in the course of the next connection."""
    if dice.random() < 0.3:
        for _ in range(line.reset_all()):
            both.faults.add("reset")
        return
    is_long = dice.random() < 0.01
    seconds = HALF_OPEN if is_long else dice.random() * LONGEST_STALL
    line.plan = Plan(dice.choice(QUICK), dice.randrange(4000), seconds)


async def _quiet(commands: Commands, ones: list[Outside]) -> None:
    try:
        await commands.stop()
    except TimeoutError:
        raise Wrong("wedged", ["a command did not end when it was told to"], []) from None
    if commands.bugs:
        raise Wrong("wedged", commands.bugs, [])
    async with at_home(commands.data) as means:
        for one in ones:
            one.meet(means)
            await one.settle()
            one.story.clear()


@asynccontextmanager
async def _lab(seed: int, mode: str) -> AsyncIterator[Side]:
    async with serve(messages=8, folder_count=2, seed=seed, offers=[mode]) as server:
        yield LabSide(server)


@asynccontextmanager
async def at_home(data: Path) -> AsyncIterator[Means]:
    """The installation in this folder, as a command opens it; but its log stays the commands' own."""
    async with running(data) as dsn:
        await migrate(dsn)
        async with open_pool(dsn) as db:
            assert await keys.our_tenant(db) == ONE
            registry = Registry(Egress(private_allowed=True))
            yield Means(db, vault_keys.load(data, None), registry, manner=Manner(pause=timedelta(0)))


async def _connected(stack: AsyncExitStack, means: Means, side: Side, number: int) -> Outside:
    line = await stack.enter_async_context(proxy(side.host, side.port))
    where = {"host": line.host, "port": line.port, "security": "plain"}
    wish = Wish(f"box{number}@history.example", side.password, "imap", where, side.user, None, Scope())
    made = await connect(means.db, means.vault, means.providers, ONE, wish, begin_anew)
    return Outside(side, await world_of(side), means, made.account, line)


async def _let_polls_fall_due(dsn: str) -> None:
    """As if the waits after failures were over; where PostgreSQL is away, another time."""
    with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
        conn = await asyncpg.connect(dsn, timeout=1)
        try:
            await conn.execute(DUE)
        finally:
            conn.terminate()


async def _ended(commands: Commands) -> None:
    await commands.stop()
