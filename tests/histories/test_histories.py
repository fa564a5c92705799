"""Whatever happens to a mailbox while syncs run and die: in the end the copy is equal, and told of truly."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

import pytest
from histories.dying import Death, How, judging_pool, mortal_pool
from histories.history import FLAGS
from histories.inside import Inside, history
from histories.playing import Player, play_round
from histories.sides import LabSide, dovecot_side
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from servers.dovecot import Dovecot

from postroom.db.roles import APP
from postroom.lab.server import serve

T = TypeVar("T")
MODES = ("qresync", "condstore", "plain", "objectid", "gmail")
LONG = os.environ.get("HISTORIES") == "long"
NUMBERS = st.integers(0, 40)
SHARES = st.floats(0, 1.05)
MARKS = st.frozensets(st.sampled_from(FLAGS), max_size=3)
Opening = Callable[[str], AbstractAsyncContextManager[Inside]]


class Mailbox(RuleBasedStateMachine):
    """Others change it, syncs run and die; `opening` is set by the test."""

    opening: Opening
    dsn: str

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()

    @initialize()
    def connect(self) -> None:
        self._history = self._run(self._stack.enter_async_context(type(self).opening(self.dsn)))

    @rule(where=NUMBERS, what=st.integers(0, 7), flags=MARKS)
    def deliver(self, where: int, what: int, flags: frozenset[str]) -> None:
        self._run(self._history.deliver(where, what, flags))

    @rule(where=NUMBERS, which=NUMBERS, flags=MARKS)
    def flag(self, where: int, which: int, flags: frozenset[str]) -> None:
        self._run(self._history.flag(where, which, flags))

    @rule(where=NUMBERS, which=NUMBERS)
    def expunge(self, where: int, which: int) -> None:
        self._run(self._history.expunge(where, which))

    @rule(where=NUMBERS, which=NUMBERS, to=NUMBERS)
    def move(self, where: int, which: int, to: int) -> None:
        self._run(self._history.move(where, which, to))

    @rule(where=NUMBERS, which=NUMBERS, to=NUMBERS)
    def copy(self, where: int, which: int, to: int) -> None:
        self._run(self._history.copy(where, which, to))

    @rule(name=NUMBERS)
    def create(self, name: int) -> None:
        self._run(self._history.create(name))

    @rule(where=NUMBERS)
    def delete(self, where: int) -> None:
        self._run(self._history.delete(where))

    @rule(where=NUMBERS, to=NUMBERS)
    def rename(self, where: int, to: int) -> None:
        self._run(self._history.rename(where, to))

    @rule(where=NUMBERS)
    def renumber(self, where: int) -> None:
        self._run(self._history.renumber(where))

    @rule()
    def sync(self) -> None:
        self._run(self._history.sync())

    @rule(how=st.sampled_from(How), when=SHARES)
    def die(self, how: How, when: float) -> None:
        self._run(self._history.sync(Death(how, when)))

    @rule(seed=NUMBERS, how=st.none() | st.sampled_from(How), when=SHARES)
    def sync_while_others_act(self, seed: int, how: How | None, when: float) -> None:
        player = Player(self._history, seed)
        self._run(self._history.sync(Death(how, when) if how else None, player.changes))

    @rule()
    def settle(self) -> None:
        self._run(self._history.settle())

    def teardown(self) -> None:
        try:
            if hasattr(self, "_history"):
                self._run(self._history.settle())
        finally:
            self._run(self._stack.aclose())
            self._runner.close()

    def _run(self, doing: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(doing)


def lab(*offers: str) -> Opening:
    @asynccontextmanager
    async def opening(dsn: str) -> AsyncIterator[Inside]:
        async with (
            mortal_pool(dsn, APP) as db,
            judging_pool(dsn, APP) as judge,
            serve(messages=8, folder_count=2, offers=offers) as server,
            history(LabSide(server), db, judge) as one,
        ):
            yield one

    return opening


def real(dovecot: Dovecot) -> Opening:
    @asynccontextmanager
    async def opening(dsn: str) -> AsyncIterator[Inside]:
        async with (
            mortal_pool(dsn, APP) as db,
            judging_pool(dsn, APP) as judge,
            dovecot_side(dovecot) as side,
            history(side, db, judge) as one,
        ):
            yield one

    return opening


def play(opening: Opening, dsn: str, examples: int) -> None:
    """Run the machine; failures are found again by what Hypothesis prints."""
    Mailbox.opening, Mailbox.dsn = staticmethod(opening), dsn
    run_state_machine_as_test(
        Mailbox,
        settings=settings(
            max_examples=examples * (50 if LONG else 1),
            stateful_step_count=60 if LONG else 30,
            deadline=None,
            database=None,
            print_blob=True,
            phases=[Phase.generate, Phase.shrink] if LONG else [Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize("mode", MODES)
def test_the_copy_of_a_lab_server_is_equal_at_every_quiet_point(dsn: str, mode: str) -> None:
    play(lab(mode), dsn, 6)


@pytest.mark.usefixtures("tenants")
def test_the_copy_of_a_real_server_is_equal_at_every_quiet_point(dsn: str, dovecot: Dovecot) -> None:
    play(real(dovecot), dsn, 6)


@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize("seed", range(1))
@pytest.mark.parametrize("mode", MODES)
def test_many_syncs_die_one_after_the_other_and_nothing_comes_of_it(dsn: str, mode: str, seed: int) -> None:
    async def rounds() -> None:
        async with lab(mode)(dsn) as one:
            player = Player(one, seed)
            for _ in range(6):
                await play_round(one, player, 6)

    asyncio.run(rounds())
