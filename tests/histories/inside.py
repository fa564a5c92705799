"""A history whose syncs run, and die, inside this process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta

from histories import stored
from histories.dying import Crashed, Death, How, Mortal, at_byte, end_connections, ended
from histories.history import History, world_of
from histories.model import World
from histories.proxy import Break, Plan, Proxy, proxy
from histories.sides import Side
from servers.tenants import ONE
from sync.mailboxes import VAULT

from postroom.accounts import credentials
from postroom.accounts import store as accounts
from postroom.accounts.model import Account, Scope
from postroom.db.pool import Database
from postroom.errors import PostroomError
from postroom.ids import new_public_id
from postroom.net.egress import Egress
from postroom.providers.pool import Pool
from postroom.providers.registry import Registry
from postroom.sync.perform import Means, Outcome, perform
from postroom.sync.run import Manner

EVERY = timedelta(minutes=1)
GRACE = timedelta(seconds=60)
MANNER = Manner(pause=timedelta(0))  # the budget of logins has tests of its own
PROVIDERS = Registry(Egress(private_allowed=True))
PAUSE_SECONDS = 0.05  # for which a connection that is to break stands still before


class Inside(History):
    """Make one with `history`."""

    def __init__(
        self,
        side: Side,
        world: World,
        judge: Database,
        account: Account,
        db: Mortal,
        line: Proxy,
        pool: Pool,
    ) -> None:
        super().__init__(side, world, judge, account)
        self._db, self._line, self._pool = db, line, pool
        self._bytes, self._commits = 5000, 10  # what an undisturbed sync took

    async def sync(
        self, death: Death | None = None, meanwhile: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """One sync, which dies as told, unless it has ended before; others act at the same time."""
        await stored.let_time_pass(self._judge, self._account)
        self._tell(f"sync, {death or 'to its end'}{', others at the same time' if meanwhile else ''}")
        async with asyncio.TaskGroup() as group:
            if meanwhile is not None:
                group.create_task(_run(meanwhile))
            error = await self._live(death)
        if error is not None and not _is_meant(error):
            raise error

    async def undisturbed(self) -> str | None:
        self._db.live()
        try:
            outcome = await self._perform(timedelta(0), Pool(), full=self.full)
        except PostroomError as error:  # a connection that PostgreSQL had ended was still in the pool
            return f"{error.code}: {error.message}"
        # A sync that found nothing is no measure of one that will.
        self._bytes = max(self._line.said, self._bytes * 3 // 4)
        self._commits = max(self._db.commits, self._commits * 3 // 4)
        if outcome.status == "success" and not outcome.counts.skipped:
            return None
        return f"{outcome.status}: {outcome.error!r}, skipped: {outcome.counts.skipped}"

    async def _live(self, death: Death | None) -> BaseException | None:
        """One life of the program; what it ended with."""
        self._db.live()
        self._line.broken = 0
        # What breaks is planned for a new connection.
        kept = self._pool if death is None else Pool()
        task = asyncio.create_task(self._perform(GRACE, kept))
        ending: list[asyncio.Task[int]] = []
        match death:
            case Death(How.RESET | How.CLOSE | How.STALL as how, when):
                self._line.plan = Plan(Break(how.value), int(when * self._bytes), PAUSE_SECONDS)
            case Death(How.CRASH_BEFORE | How.CRASH_AFTER as how, when):
                self._db.live(1 + int(when * self._commits), stores_first=how is How.CRASH_AFTER)
            case Death(How.CANCELLED, when):
                self._line.when_said = at_byte(
                    int(when * self._bytes), lambda: self._counted(death, task.cancel)
                )
            case Death(How.DATABASE, when):

                def end() -> None:
                    ending.append(asyncio.create_task(end_connections(self._db.dsn)))

                self._line.when_said = at_byte(int(when * self._bytes), lambda: self._counted(death, end))
        try:
            error = await ended(task)
            await asyncio.gather(*ending)
        finally:
            self._line.when_said = self._line.plan = None
        if death is not None and (self._db.is_dead or self._line.broken):
            self.faults.add(death.how.value)
        self._db.live()
        return error

    def _counted(self, death: Death, act: Callable[[], object]) -> None:
        self.faults.add(death.how.value)
        act()

    async def _perform(self, grace: timedelta, kept: Pool, *, full: bool = False) -> Outcome:
        means = Means(self._db, VAULT, PROVIDERS, manner=MANNER, pool=kept)
        return await perform(means, self._account, every=EVERY, grace=grace, full=full)


def _is_meant(error: BaseException) -> bool:
    """Whether this is how a sync that was killed ends; anything else is a bug."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_meant(one) for one in error.exceptions)
    return isinstance(error, Crashed | asyncio.CancelledError | PostroomError)


async def _run(act: Callable[[], Awaitable[None]]) -> None:
    await act()


@asynccontextmanager
async def history(side: Side, db: Mortal, judge: Database) -> AsyncIterator[Inside]:
    """A new account of tenant ONE on this mailbox, which is reached through a proxy."""
    async with proxy(side.host, side.port) as line, aclosing(Pool(1)) as kept:
        public_id = new_public_id()
        settings = {"host": line.host, "port": line.port, "security": "plain", "username": side.user}
        async with judge.transaction(ONE) as conn:
            account = await accounts.add(
                conn,
                ONE,
                public_id,
                address=f"{public_id}@history.example",
                provider="imap",
                settings=settings,
                secret=credentials.seal(VAULT, ONE, public_id, side.password),
                scope=Scope(),
            )
        assert account is not None
        yield Inside(side, await world_of(side), judge, account, db, line, kept)
