"""One trial: a mailbox is copied, changes, and the sync of the change is interrupted, resumed and repeated.

lay ─> sync ─> happens ─> sync, interrupted ─> sync ─> compare ─> sync ─> nothing was written
"""

from collections import Counter

from crash.bench import Bench, Mode
from crash.comparing import Quiet, Wrong, check_told, compare, doubles
from crash.interrupts import Kind, Life, Point
from crash.language import Scenario, carry_out, lay
from crash.mailbox import Elsewhere
from crash.model import Model, parts
from crash.stored import NOTHING

from postroom.accounts.model import Account, Scope
from postroom.lab.mailbox import LabMailbox
from postroom.sync.perform import Outcome

SILENT = {"accounts_account", "db_lease"}  # tables that a sync which finds nothing may write to


async def try_out(bench: Bench, scenario: Scenario, mode: Mode, point: Point | None = None) -> Life:
    """Run a trial, uninterrupted without a point. The life of its second sync; raises `Wrong`."""
    faults = [scenario.fault] if scenario.fault else []
    async with bench.account(mode, Scope(largest=scenario.largest)) as (account, mailbox):
        bench.servers[mode].faults.switch_on(*faults)
        try:
            return await Trial(bench, scenario, account, mailbox).run(point)
        finally:
            bench.servers[mode].faults.switch_off(*faults)


class Trial:
    """One account during a trial."""

    def __init__(self, bench: Bench, scenario: Scenario, account: Account, mailbox: LabMailbox) -> None:
        self._bench, self._scenario, self._account = bench, scenario, account
        self._worlds = self._model, _ = Model(), Elsewhere(mailbox, scenario.validity)

    async def run(self, point: Point | None) -> Life:
        before = Quiet({}, frozenset(), NOTHING)
        lay(self._scenario.before, *self._worlds)
        if not self._scenario.is_first:
            await self._succeed()
            before = await self._compared(before)
        carry_out(self._scenario.happens, *self._worlds)
        life = Life(point, change=self._change)
        # What moves while it is looked for cannot be found: it is what patience is for.
        await self._bench.sync(self._account, life, is_patient=bool(self._scenario.meanwhile))
        if life.is_interrupted and point and point.kind is not Kind.CHANGE:
            self._change()
        await self._succeed()
        now = await self._compared(before)
        if not life.is_interrupted or not self._scenario.meanwhile:
            check_told(now, before)
        await check_silent(self._bench, self._account)
        return life

    def _change(self) -> None:
        carry_out(self._scenario.meanwhile, *self._worlds)

    async def _succeed(self) -> None:
        await succeed(self._bench, self._account)

    async def _compared(self, before: Quiet) -> Quiet:
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
