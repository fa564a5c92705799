"""One trial: a mailbox is copied, changes, and its syncs are interrupted, resumed and repeated.

lay ─> sync, interrupted ─> sync ─> compare ─> happens
    ─> sync, interrupted ─> resumed, interrupted ... ─> sync ─> compare ─> sync ─> nothing was written
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from crash.bench import Bench, Mode
from crash.comparing import Quiet, Wrong, check_told, compare, doubles
from crash.interrupts import AT_WRITE, Life, Point
from crash.language import Scenario, carry_out, lay
from crash.mailbox import Elsewhere
from crash.model import Model, parts, seen
from crash.stored import NOTHING

from postroom.accounts.model import Account, Scope
from postroom.lab.mailbox import LabMailbox
from postroom.sync.perform import Outcome

SILENT = {"accounts_account", "db_lease"}  # tables that a sync which finds nothing may write to


@dataclass(frozen=True, slots=True)
class Lives:
    """The syncs of a trial that could be interrupted."""

    first: Sequence[Life]  # of the mailbox as it was laid
    then: Sequence[Life]  # of what happened

    @property
    def interrupted(self) -> int:
        return sum(life.is_interrupted for life in (*self.first, *self.then))


async def try_out(
    bench: Bench, scenario: Scenario, mode: Mode, first: Sequence[Point] = (), then: Sequence[Point] = ()
) -> Lives:
    """Run a trial with interruptions at these points; raises `Wrong`.

    Of several points each comes in the resumption after the one before it, if that lives so long.
    """
    faults = [scenario.fault] if scenario.fault else []
    async with bench.account(mode, Scope(largest=scenario.largest)) as (account, mailbox):
        bench.servers[mode].faults.switch_on(*faults)
        try:
            return await Trial(bench, scenario, account, mailbox).run(first, then)
        finally:
            bench.servers[mode].faults.switch_off(*faults)


class Trial:
    """One account during a trial."""

    def __init__(self, bench: Bench, scenario: Scenario, account: Account, mailbox: LabMailbox) -> None:
        self._bench, self._scenario, self._account = bench, scenario, account
        self._model, self._elsewhere = Model(), Elsewhere(mailbox, scenario.validity)
        self._worlds = self._model, self._elsewhere
        self._meanwhile = ""

    async def run(self, first: Sequence[Point], then: Sequence[Point]) -> Lives:
        before = Quiet({}, frozenset(), NOTHING)
        lay(self._scenario.before, *self._worlds)
        copied: list[Life] = []
        if not self._scenario.is_first:
            copied = await self._syncs(first)
            before = await self._compared(before)
        carry_out(self._scenario.happens, *self._worlds)
        self._meanwhile = self._scenario.meanwhile
        followed = await self._syncs(then)
        now = await self._compared(before)
        if self._meanwhile == self._scenario.meanwhile:  # nothing happened in mid-sync: all is certain
            cut = [life for life in followed if life.is_interrupted and life.kind in AT_WRITE]
            check_told(now, before, loosely=bool(cut))
        await check_silent(self._bench, self._account)
        return Lives(copied, followed)

    async def _syncs(self, points: Sequence[Point]) -> list[Life]:
        """One for each point, or one that comes through; then one more, which has to."""
        lives = [Life(point, change=self._change) for point in points] or [Life()]
        for life in lives:
            # What moves while it is looked for cannot be found: it is what patience is for.
            await self._bench.sync(self._account, life, is_patient=bool(self._scenario.meanwhile))
            if life.is_interrupted:
                self._change()
        await succeed(self._bench, self._account)
        return lives

    def _change(self) -> None:
        """What happens meanwhile, once."""
        carry_out(self._meanwhile, *self._worlds)
        self._meanwhile = ""

    async def _compared(self, before: Quiet) -> Quiet:
        assert self._elsewhere.state() == seen(self._model.state())
        now = await self._quiet()
        # Twins that are parted stay two.
        twins = Counter({word: len(ids) for word, ids in before.ids().items()})
        places = Counter(mail.word for folder in now.state.values() for mail in folder.mails.values())
        compare(now, before, doubles(now.state) | (twins & places))
        return now

    async def _quiet(self) -> Quiet:
        kept, parked = parts(self._model.state(), largest=self._scenario.largest, fault=self._scenario.fault)
        return Quiet(kept, parked, await self._bench.stored(self._account))


async def succeed(bench: Bench, account: Account, life: Life | None = None) -> None:
    """A sync that finishes what there is to do. Raises `Wrong` when it does not."""
    outcome = await bench.sync(account, life or Life())
    if not isinstance(outcome, Outcome) or outcome.status != "success" or outcome.counts.skipped:
        raise Wrong("wedged", outcome)


async def check_silent(bench: Bench, account: Account) -> None:
    """Another sync writes nothing, and so tells nothing. Raises `Wrong`."""
    life = Life(asks_tables=True)
    await succeed(bench, account, life)
    if life.tables - SILENT:
        raise Wrong("wrote", life.tables - SILENT)
