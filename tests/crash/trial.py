"""One trial: a mailbox is copied, changes, and the sync of the change is interrupted, resumed and repeated.

    lay ─> sync ─> happens ─> sync, interrupted ─> sync ─> compare ─> sync ─> nothing was written

What is compared with the model: places, flags and bytes; ids, which a mail keeps; the log, which tells each
change once and gives the stored state when it is replayed; and what may never be true of the tables.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

import asyncpg
from crash.interrupts import Interrupts, Kind, Life, Point
from crash.language import Scenario, carry_out, lay, raw
from crash.mailbox import Elsewhere
from crash.model import Folders, Key, Model, Place, news, parts, plain, unclear
from crash.stored import Stored, counted, stored
from sync.mailboxes import VAULT, means

from postroom.accounts import credentials
from postroom.accounts import store as accounts
from postroom.accounts.model import Account, Scope
from postroom.db.pool import Database
from postroom.db.roles import APP
from postroom.errors import PostroomError
from postroom.events.replay import replay
from postroom.ids import TenantId, new_public_id
from postroom.lab.mailbox import LabMailbox
from postroom.lab.server import LabServer
from postroom.sync.perform import Outcome, perform

EVERY = timedelta(minutes=15)
NEW_TENANT = """
    INSERT INTO postroom.people_tenant (public_id, name) VALUES (gen_random_uuid(), $1) RETURNING tenant_id
"""
UNTOLD = {"accounts_account", "db_lease"}  # tables that a sync which finds nothing may write to
PATIENCE = timedelta(minutes=1)


class Mode(StrEnum):
    QRESYNC = "qresync"
    CONDSTORE = "condstore"
    PLAIN = "plain"


class Wrong(AssertionError):
    """What a trial found. `what` is the column of the tally that it belongs to."""

    def __init__(self, what: str, said: object) -> None:
        super().__init__(f"{what}: {said}")
        self.what = what


@dataclass
class Bench:
    """What many trials share: a database, a lab server for each mode, and the hooks."""

    dsn: str
    servers: Mapping[Mode, LabServer]
    interrupts: Interrupts
    observer: asyncpg.Connection
    database: Database = field(init=False)

    def __post_init__(self) -> None:
        self.database = Database(self.dsn, size=10, role=APP)

    async def try_out(self, scenario: Scenario, mode: Mode, point: Point | None = None) -> Life:
        """Run a trial, uninterrupted without a point. The life of its second sync; raises `Wrong`."""
        async with self._account(scenario, mode) as (account, mailbox):
            return await _Trial(self, scenario, account, mailbox).run(point)

    async def sync(
        self, account: Account, life: Life, *, is_patient: bool = False
    ) -> Outcome | PostroomError | None:
        """One sync in a life; None when it was killed, and then with its connections to the database.

        One that is patient waits with what it cannot find; others tell at once that it is gone.
        """
        grace = PATIENCE if is_patient else timedelta()
        doing = perform(means(self.database), account, every=EVERY, grace=grace)
        try:
            outcome: Outcome | None = await self.interrupts.live(life, doing)
        except PostroomError as error:
            return error
        if life.is_dead:
            while self.database._idle:
                self.database._idle.pop().terminate()
            await self.close()
            self.database = Database(self.dsn, size=10, role=APP)
        return outcome

    async def close(self) -> None:
        await self.database._close()

    @asynccontextmanager
    async def _account(self, scenario: Scenario, mode: Mode) -> AsyncIterator[tuple[Account, LabMailbox]]:
        """An account of a tenant of its own, and its mailbox."""
        server, public_id = self.servers[mode], new_public_id()
        tenant = TenantId(await self.observer.fetchval(NEW_TENANT, str(public_id)))
        address = f"{public_id}@lab.example"
        mailbox = server.accounts[address] = LabMailbox()
        async with self.database.transaction(tenant) as conn:
            account = await accounts.add(
                conn,
                tenant,
                public_id,
                address=address,
                provider="imap",
                settings={"host": server.host, "port": server.port, "security": "plain"},
                secret=credentials.seal(VAULT, tenant, public_id, server.password),
                scope=Scope(largest=scenario.largest),
            )
        assert account is not None
        if scenario.fault:
            server.faults.switch_on(scenario.fault)
        try:
            yield account, mailbox
        finally:
            del server.accounts[address]
            if scenario.fault:
                server.faults.switch_off(scenario.fault)


class _Trial:
    def __init__(self, bench: Bench, scenario: Scenario, account: Account, mailbox: LabMailbox) -> None:
        self._bench, self._scenario, self._account = bench, scenario, account
        self._worlds = self._model, _ = Model(), Elsewhere(mailbox, scenario.validity)
        self._most: dict[str, int] = {}  # ids of each word: doubles stay two when they are parted

    async def run(self, point: Point | None) -> Life:
        lay(self._scenario.before, *self._worlds)
        before: Folders = {}
        copied = await self._stored()
        if not self._scenario.is_first:
            before = self._model.state()
            await self._succeed()
            copied = await self._stored()
            self._compare(before, copied)
        carry_out(self._scenario.happens, *self._worlds)
        life = Life(point, change=self._change)
        # What moves while it is looked for cannot be found: it is what patience is for.
        await self._bench.sync(self._account, life, is_patient=bool(self._scenario.meanwhile))
        if life.is_interrupted and life.point and life.point.kind is not Kind.CHANGE:
            self._change()
        await self._succeed()
        after, now = self._model.state(), await self._stored()
        self._compare(after, now)
        self._same_ids(before, copied, after, now)
        if not life.is_interrupted or not self._scenario.meanwhile:
            self._told(before, copied, after, now)
        await self._nothing_left(now)
        return life

    def _change(self) -> None:
        carry_out(self._scenario.meanwhile, *self._worlds)

    async def _succeed(self, life: Life | None = None) -> None:
        outcome = await self._bench.sync(self._account, life or Life())
        if not isinstance(outcome, Outcome) or outcome.status != "success" or outcome.counts.skipped:
            raise Wrong("wedged", outcome)

    async def _stored(self) -> Stored:
        return await stored(self._bench.observer, self._account.tenant_id, self._account.id)

    def _parts(self, state: Folders) -> tuple[Folders, frozenset[Place]]:
        return parts(state, largest=self._scenario.largest, fault=self._scenario.fault)

    def _compare(self, state: Folders, now: Stored) -> None:
        """The copy is the mailbox: folders, places, bytes and flags, and each mail once."""
        kept, parked = self._parts(state)
        theirs = {(name, uid): mail for name, folder in kept.items() for uid, mail in folder.mails.items()}
        same = {
            place
            for place, mail in theirs.items()
            if place in now.placed and now.placed[place].raw == raw(mail.word)
        }
        if lost := theirs.keys() - same:
            raise Wrong("lost", lost)
        if invented := now.placed.keys() - theirs.keys():
            raise Wrong("invented", invented)
        if (names := set(now.folders.values())) != set(kept):
            raise Wrong("invented" if names > set(kept) else "lost", names ^ set(kept))
        if differ := [place for place, mail in theirs.items() if now.placed[place].flags != mail.flags]:
            raise Wrong("flags", differ)
        most = Counter[str]()
        for folder in kept.values():
            most |= Counter(mail.word for mail in folder.mails.values())
        ids = {word: len(ids) for word, ids in _ids(kept, now).items()}
        most |= Counter({word: min(count, self._most.get(word, 0)) for word, count in ids.items()})
        if repeated := Counter(ids) - most:
            raise Wrong("repeated", repeated)
        self._most = ids
        if now.wrong or now.messages != now.state.keys():
            raise Wrong("inconsistent", now.wrong)
        if now.parked != parked:
            raise Wrong("parked", now.parked ^ parked)
        told = replay(now.entries)
        if (told.messages, told.folders) != (now.state, set(now.folders)):
            raise Wrong("replay", "the log does not tell of what is stored")

    def _same_ids(self, before: Folders, copied: Stored, after: Folders, now: Stored) -> None:
        """A mail keeps its id wherever it goes, as long as it lies anywhere."""
        old, new = _ids(self._parts(before)[0], copied), _ids(self._parts(after)[0], now)
        for word, ids in old.items():
            left = new.get(word, set())
            if len(ids & left) < min(len(ids), len(left)):
                raise Wrong("repeated", f"{word} has another id")
        for place, copy in copied.placed.items():
            if _is_same(place, before, after) and now.placed[place].message != copy.message:
                raise Wrong("repeated", f"{place} has another id")

    def _told(self, before: Folders, copied: Stored, after: Folders, now: Stored) -> None:
        """Each change has its event, and nothing else has one."""
        (old, was), (new, parked) = self._parts(before), self._parts(after)
        names = copied.folders | now.folders
        names |= {
            copy.message: copy.raw.partition(b"Subject: ")[2].split(b"\r\n")[0].decode()
            for one in (copied, now)
            for copy in one.placed.values()
        }
        told = Counter[Key]()
        for (about, kind), count in counted(now.entries[len(copied.entries) :]).items():
            told[names.get(about, about), kind] += count
        for name in names.values():
            del told[name, "sync.released"]
        about_parked = Counter((name, "sync.parked") for name in _newly(was, before, parked, after))
        told = plain(told, unclear(old, new))
        wrong = [one.differs(told - about_parked) for one in news(old, new)]
        if all(wrong) or about_parked - told:
            raise Wrong("told", wrong[0])

    async def _nothing_left(self, now: Stored) -> None:
        """Another sync writes nothing and tells nothing."""
        life = Life(asks_tables=True)
        await self._succeed(life)
        if life.tables - UNTOLD:
            raise Wrong("wrote", life.tables - UNTOLD)
        if await self._stored() != now:
            raise Wrong("wrote", "something differs")


def _ids(state: Folders, now: Stored) -> dict[str, set[str]]:
    """The ids under which each word is stored."""
    found: dict[str, set[str]] = {}
    for name, folder in state.items():
        for uid, mail in folder.mails.items():
            found.setdefault(mail.word, set()).add(now.placed[name, uid].message)
    return found


def _is_same(place: Place, before: Folders, after: Folders) -> bool:
    """Whether this place was not given to another mail."""
    name, uid = place
    old, new = before.get(name), after.get(name)
    if old is None or new is None or (old.made, old.validity) != (new.made, new.validity):
        return False
    return uid in old.mails and uid in new.mails


def _newly(was: Iterable[Place], before: Folders, parked: Iterable[Place], after: Folders) -> list[str]:
    """The folder of each mail that is parked now under a number under which it was not."""
    known = {(before[name].made, before[name].validity, uid) for name, uid in was}
    now = [(name, (after[name].made, after[name].validity, uid)) for name, uid in parked]
    return [name for name, place in now if place not in known]
