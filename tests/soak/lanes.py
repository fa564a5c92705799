"""Lanes of the long run: each plays one history after the other until the time is over.

inside    syncs run in this process, against the lab server in one mode, or Dovecot; many faults a second
lying     as inside, against a lab server that plays faults of its own while syncs die
"""

import imaplib
import random
import traceback
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
from histories.dying import judging_pool, mortal_pool
from histories.history import History, Unlike, Wrong
from histories.inside import Inside, history
from histories.playing import Player, play_round
from histories.sides import LabSide, Side, dovecot_side
from servers.dovecot import Dovecot
from servers.postgres import named
from soak.tally import Count

from postroom.db.roles import APP
from postroom.lab.faults import Faults
from postroom.lab.server import serve

ROUNDS = 12  # of one history
SYNCS = 16  # that die in one round
LIES = (  # those that change nothing in the mailbox itself, and end before we lose patience
    *("greeting-bye", "bye-in-fetch", "cut-in-literal", "select-fails", "second-list-fails", "login-no"),
    *("authenticated-not-connected", "overquota", "too-many-connections", "backoff", "search-truncated"),
    *("unavailable-uid", "list-empty", "validity-missing", "uidnext-missing", "modseq-decreases"),
    *("esearch-ignored", "no-flags-in-fetch", "empty-body", "body-missing", "breaks-on-message"),
    *("size-lies", "date-absurd", "unsolicited-status"),
)
Go = Callable[[], bool]
Tell = Callable[[str], None]


class Lane:
    """`go` says whether there is time for another round; failures are kept with their seed."""

    def __init__(self, name: str, count: Count, go: Go, tell: Tell, findings: Path) -> None:
        self.name, self.count, self._go, self._tell, self._findings = name, count, go, tell, findings

    async def run(self, seed: int, play: Callable[[int], Awaitable[None]]) -> None:
        """Play history after history, each from the next seed."""
        while self._go():
            try:
                await play(seed)
            except Wrong as wrong:
                self.count.wrong[wrong.kind] += 1
                self._keep(seed, str(wrong))
            except (Unlike, imaplib.IMAP4.abort) as unlike:  # or the other client lost its server
                self._keep(seed, f"nothing can be judged: {unlike}")
            except Exception:  # noqa: BLE001  a bug, of ours or of the tests: the other lanes go on
                self.count.wrong["wedged"] += 1
                self._keep(seed, traceback.format_exc())
            seed += 1

    async def rounds(self, one: History, play: Callable[[], Awaitable[None]]) -> None:
        """The rounds of one history; counts what happened in each, whatever came of it."""
        for _ in range(ROUNDS):
            if not self._go():
                return
            try:
                await play()
            finally:
                self.count.faults.update(one.faults.by_kind)
                one.faults.by_kind.clear()
            self.count.rounds += 1
            one.story.clear()

    def _keep(self, seed: int, text: str) -> None:
        self._findings.mkdir(parents=True, exist_ok=True)
        file = self._findings / f"{self.name}-{seed}.txt"
        file.write_text(text)
        self._tell(f"lane {self.name}, seed {seed}: {text.splitlines()[0]} (see {file})")


async def inside(lane: Lane, seed: int, dsn: str, mode: str, dovecot: Dovecot | None) -> None:
    """Against Dovecot, or the lab server in this mode."""
    async with AsyncExitStack() as stack:
        if dovecot is not None:
            side: Side = await stack.enter_async_context(dovecot_side(dovecot))
        else:
            serving = serve(messages=8, folder_count=2, seed=seed, offers=[mode])
            side = LabSide(await stack.enter_async_context(serving))
        one = await _begun(stack, dsn, side)
        player = Player(one, seed)
        await lane.rounds(one, lambda: play_round(one, player, SYNCS))


async def lying(lane: Lane, seed: int, dsn: str, mode: str) -> None:
    """Against a lab server that misbehaves while syncs die, and behaves at quiet points."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serve(messages=8, folder_count=2, seed=seed, offers=[mode]))
        one = await _begun(stack, dsn, LabSide(server))
        player = _Liar(one, seed, server.faults)
        await lane.rounds(one, player.round)


class _Liar(Player):
    """Plays a server that lies, too."""

    def __init__(self, history: Inside, seed: int, faults: Faults) -> None:
        super().__init__(history, seed)
        self._one, self._faults = history, faults

    async def round(self) -> None:
        names = self.dice.sample(LIES, self.dice.randrange(1, 4))
        self._one.story.append(f"the server plays {names}")
        # Without a validity no removal is proven, so that what moves there and back is in two places; and
        # renames are told by sizes, dates and contents.
        self._one.world.is_vague = True
        self._faults.switch_on(*names)
        try:
            for _ in range(SYNCS):
                await self.changes()
                await self._one.sync(None, self.changes if self.dice.random() < 0.5 else None)
                self._one.faults.add("lies")
        finally:
            self._faults.switch_off(*names)
        await self._one.settle(full=True)


async def _begun(stack: AsyncExitStack, dsn: str, side: Side) -> Inside:
    db = await stack.enter_async_context(mortal_pool(dsn, APP))
    judge = await stack.enter_async_context(judging_pool(dsn, APP))
    return await stack.enter_async_context(history(side, db, judge))


async def database(dsn: str, template: str, name: str) -> str:
    """A migrated database of a lane's own, so that its lost connections are nobody else's."""
    conn = await asyncpg.connect(dsn)
    try:
        await conn.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    finally:
        await conn.close()
    return named(dsn, name)


def seeds(seed: int, lanes: int) -> list[int]:
    """A first seed for each lane, far enough from each other."""
    dice = random.Random(seed)
    return [dice.randrange(1 << 31) for _ in range(lanes)]
