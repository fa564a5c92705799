"""How many connections to mail servers there may be, over all processes: each has a slot before it is opened.

take ──> granted ──> open ... closed ──> given back ──> a hint to who waits
  └───> waiting: the longest first, over all processes; watchers last
          └── a hint, or a look every now and then ──> take again

An account has so many slots as its owner says, or as its provider is known to allow, or as the setting
says; and one less than there were when its server refused one, for a day. A host has so many for all accounts
of all tenants, but for those of watchers; who finds none is sent away at once: such a queue has no end.

A slot costs one statement to take and one to give back, and nothing while it is held: it is its process that
is renewed (`db/processes`), and with a process that is gone go all its slots.

Who waits tells those who keep a connection only because it may be of use again. Where there are none such,
and a sync or a command waits, a watcher is asked for one of its own (`Slot.wanted`): the mail that a watcher
would tell of is what the sync brings. The watcher asks again, and comes after all others.
"""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from time import monotonic

import structlog

from postroom import telemetry
from postroom.db import process
from postroom.db.beside import beside
from postroom.db.listen import Hints
from postroom.db.model import DATABASE_AWAY
from postroom.db.pool import Database
from postroom.db.processes import Process, registered
from postroom.ids import AccountId, TenantId
from postroom.providers import known
from postroom.providers.model import NoConnection
from postroom.providers.target import Purpose, Target

from . import store
from .store import Answer, Question

SLOTS = "slots"  # a hint: of this account one has come free, or this one is wanted
SESSIONS = "sessions"  # a hint: of this account, or host, none is to be kept
CEILING = 3
OF_HOST = 100
OURS = 2 / 3  # of what a provider is known to allow; the rest is for its owner's own programs
LEARNT = timedelta(days=1)
MOMENT = 1.0  # seconds before a watcher has to give way, and between two looks at first
LOOK_EVERY = 4.0  # seconds between two looks later; a process counts as alive for 10 after its end
RETRY = 1.0  # seconds before the database is asked again
GOODBYE = 2.0  # seconds to give one back; then that is done later
STRAYS_EVERY = 5.0  # seconds
STRAY_TRIES = 3

logger = structlog.get_logger()


class Slot:
    """The right to one connection. Give it back when that is closed, and not before."""

    def __init__(self, target: Target, purpose: Purpose) -> None:
        self.target, self.purpose = target, purpose
        self.id = secrets.randbits(62)
        self.wanted = asyncio.Event()
        """Close the connection and give this back as soon as may be."""

    @property
    def key(self) -> store.Key:
        return self.target.tenant, self.target.account, self.id


class Slots:
    """Made by `open_slots`; lives as long as its block."""

    def __init__(
        self,
        db: Database,
        tell: Callable[[str, str], None],
        *,
        ceiling: int = CEILING,
        of_host: int = OF_HOST,
    ) -> None:
        self._db, self._tell = db, tell
        self._ceiling, self._of_host = ceiling, of_host
        self._needed = asyncio.Event()
        self._process: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
        self._held: dict[int, Slot] = {}
        self._waiting: defaultdict[tuple[TenantId, AccountId], set[asyncio.Event]] = defaultdict(set)
        self._strays: dict[store.Key, int] = {}

    async def take(self, target: Target, purpose: Purpose, patience: timedelta) -> Slot:
        """A slot, after `patience` at most. Raises `NoConnection`, and what the database raises."""
        slot, began, verdict = Slot(target, purpose), monotonic(), None
        try:
            async with asyncio.timeout(patience.total_seconds()):
                verdict = await self._stand_in_line(slot)
        except TimeoutError:
            raise NoConnection(
                f"All connections that {target.host} allows this mailbox are in use.", wait=patience
            ) from None
        finally:
            if verdict is None:
                await self._forget([slot], is_certain=False)
            telemetry.CONNECTION_WAITS.labels(str(purpose)).observe(monotonic() - began)
        if verdict != "granted":
            raise self._refusal(target, verdict)
        return slot

    async def take_free(self, target: Target) -> Slot | None:
        """One for a watcher, if nobody has it or waits for it. Raises what the database raises."""
        slot, verdict = Slot(target, Purpose.WATCH), None
        try:
            (answer,) = await self._ask([slot], Purpose.WATCH)
            verdict = answer.verdict
        finally:
            if verdict != "granted":
                await self._forget([slot], is_certain=verdict is not None)
        if verdict != "granted":
            return None
        self._held[slot.id] = slot
        return slot

    async def give_back(self, slots: Collection[Slot]) -> None:
        """Their connections are closed. What cannot be told now is told later."""
        for slot in slots:
            self._held.pop(slot.id, None)
        await self._forget(slots)

    async def learn(self, slot: Slot) -> int:
        """The server has refused this one: how many the account had with it. One less may be from now on."""
        async with self._db.single() as conn:
            held = await store.learn(conn, slot.target, LEARNT)
        if held > 1:
            logger.info("providers.limit_learnt", account=slot.target.account, connections=held - 1)
        return held

    async def _stand_in_line(self, slot: Slot) -> str:
        """The last verdict: granted, full or gone."""
        dead: list[str] = []
        began, free, key = monotonic(), asyncio.Event(), slot.target.key
        self._waiting[key].add(free)
        try:
            while True:
                free.clear()
                waited = monotonic() - began
                insists = waited >= MOMENT
                (answer,) = await self._ask([slot], slot.purpose, dead=dead, insists=insists)
                if answer.verdict == "granted":
                    self._held[slot.id] = slot
                if answer.verdict != "waiting":
                    return answer.verdict
                known_dead, dead = dead, [one for one in answer.processes if process.is_dead(one)]
                if dead and dead != known_dead:
                    continue
                self._tell(SESSIONS, f"wait {key[0]} {key[1]}")
                for wanted in answer.wanted:
                    self._want(wanted)
                    self._tell(SLOTS, f"wanted {wanted}")
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(MOMENT, min(waited, LOOK_EVERY))):
                        await free.wait()
        finally:
            self._waiting[key].discard(free)
            if not self._waiting[key]:
                del self._waiting[key]

    def _refusal(self, target: Target, verdict: str) -> NoConnection:
        if verdict == "gone":
            return NoConnection("There is no such account any more.")
        telemetry.CONNECTIONS_REFUSED.labels("host").inc()
        self._tell(SESSIONS, f"room {target.host}")
        return NoConnection(f"There are as many connections to {target.host} as may be.", is_of_host=True)

    async def _ask(
        self,
        slots: Sequence[Slot],
        purpose: Purpose,
        *,
        dead: Sequence[str] = (),
        insists: bool = False,
    ) -> list[Answer]:
        self._needed.set()
        me = (await asyncio.shield(self._process)).identity
        wishes = [(slot.target, slot.id, self.most(slot.target)) for slot in slots]
        question = Question(me, purpose, self._of_host, dead, insists)
        async with self._db.single() as conn:
            return await store.ask(conn, wishes, question)

    def most(self, target: Target) -> int:
        """How many the account may have at a time, unless its server has taught less."""
        provider = known.by_host(target.host)
        theirs = int(provider.connections * OURS) if provider and provider.connections else None
        return target.connections or theirs or self._ceiling

    async def _forget(self, slots: Collection[Slot], *, is_certain: bool = True) -> None:
        """Delete their rows. Who was cut off while it asked is not certain that they are there already."""
        self._stray(slots)
        with suppress(*DATABASE_AWAY, TimeoutError):
            async with asyncio.timeout(GOODBYE):
                await self._delete([slot.key for slot in slots])
            if is_certain:
                self._no_stray(slots)

    def _stray(self, slots: Collection[Slot]) -> None:
        self._strays |= {slot.key: STRAY_TRIES for slot in slots}

    def _no_stray(self, slots: Collection[Slot]) -> None:
        for slot in slots:
            self._strays.pop(slot.key, None)

    async def _delete(self, keys: Sequence[store.Key]) -> None:
        if keys:
            async with self._db.single() as conn:
                waited_for = await store.give_back(conn, keys)
            for tenant, account in waited_for:
                self._tell(SLOTS, f"free {tenant} {account}")

    def _want(self, number: int) -> None:
        if number in self._held:
            self._held[number].wanted.set()

    async def hear(self, hints: Hints) -> None:
        """For ever, from the first slot on: who takes none need not listen."""
        await self._needed.wait()
        with hints.hear(SLOTS) as hearing:
            async for hint in hearing:
                match (hint or "").split(" "):
                    case ["wanted", number] if number.isdecimal():
                        self._want(int(number))
                    case ["free", tenant, account] if tenant.isdecimal() and account.isdecimal():
                        self._wake((TenantId(int(tenant)), AccountId(int(account))))
                    case _:
                        for key in self._waiting:
                            self._wake(key)

    def _wake(self, key: tuple[TenantId, AccountId]) -> None:
        for free in self._waiting.get(key, ()):
            free.set()

    async def live(self) -> None:
        """Be known as alive, from the first slot on. For ever."""
        await self._needed.wait()
        while True:
            with suppress(*DATABASE_AWAY):
                async with registered(self._db, "connections") as one:
                    if self._process.done():
                        self._process = asyncio.get_running_loop().create_future()
                    self._process.set_result(one)
                    while True:
                        await one.lapse.wait()
                        self._lapsed()
            await asyncio.sleep(RETRY)

    def _lapsed(self) -> None:
        """What we hold may have been given to others."""
        logger.warning("providers.slots_lapsed", held=len(self._held))
        for slot in self._held.values():
            slot.wanted.set()

    async def mind(self) -> None:
        """Delete what could not be deleted, or came back because it was on its way. For ever."""
        while True:
            await asyncio.sleep(STRAYS_EVERY)
            with suppress(*DATABASE_AWAY):
                strays = dict(self._strays)
                await self._delete(list(strays))
                for key, tries in strays.items():
                    if tries > 1 and key in self._strays:
                        self._strays[key] = tries - 1
                    else:
                        self._strays.pop(key, None)


@asynccontextmanager
async def open_slots(
    db: Database, hints: Hints, *, ceiling: int = CEILING, of_host: int = OF_HOST
) -> AsyncIterator[Slots]:
    """Slots may be taken for as long as the block runs; it costs nothing before the first.

    `ceiling`: of an account that has none of its own; `of_host`: of all accounts of a host together.
    """
    slots = Slots(db, hints.tell, ceiling=ceiling, of_host=of_host)
    async with beside(slots.live(), slots.hear(hints), slots.mind()):
        yield slots
