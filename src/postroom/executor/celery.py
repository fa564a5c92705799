"""The Celery app: `celery -A postroom.executor.celery worker`, and the same with `beat` and `flower`.

Needs `pip install postroom[celery]`. docs/howto/run-with-celery.md has the commands, `tasks` how it works.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

from postroom import telemetry
from postroom.accounts.clients import clients_of
from postroom.accounts.oauth import Oauth
from postroom.alerts.ways import ways
from postroom.db.embedded.client import running
from postroom.db.listen import open_hints
from postroom.db.model import DATABASE_AWAY
from postroom.db.pool import Database, open_pool
from postroom.net.client import Client
from postroom.net.egress import Egress
from postroom.providers.pool import Pool
from postroom.providers.registry import Registry
from postroom.providers.slots import open_slots
from postroom.settings import Settings
from postroom.sync.due import enqueue_due
from postroom.sync.perform import Means
from postroom.sync.run import Manner
from postroom.sync.workshop import Workshop
from postroom.vault import keys
from postroom.vault.check import check
from postroom.vault.model import Secret
from postroom.vault.seal import Vault

from .duties import duties
from .handlers import Work, handlers
from .tasks import House, make_app


@asynccontextmanager
async def unlocked(settings: Settings) -> AsyncIterator[tuple[Database, Vault]]:
    """The database of these settings, which `postroom serve` or another command has prepared, and its keys.

    Raises `WrongKey`, and what `db` and `vault` raise.
    """
    async with AsyncExitStack() as stack:
        url = settings.database_url
        if url is None:
            url = await stack.enter_async_context(running(settings.data))
        db = await stack.enter_async_context(open_pool(url))
        given = settings.secret_key
        vault = keys.load(settings.data, Secret(given.get_secret_value()) if given else None)
        async with db.unbound() as conn:
            await check(conn, vault)
        yield db, vault


async def try_key(settings: Settings) -> None:
    """Raises as `unlocked` does. A database that is away is no reason: workers wait until it is back."""
    with suppress(*DATABASE_AWAY):
        async with unlocked(settings):
            pass


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[House]:
    """The installation of these settings."""
    telemetry.set_up()
    async with unlocked(settings) as (db, vault), open_hints(db) as hints:
        manner = Manner(grace=settings.sync_grace, pause=settings.login_pause)
        # As for the command line; mail is read in the process that syncs.
        own = Egress(settings.private_allowed)
        oauth = Oauth(Client(own), clients_of(settings.oauth_clients))
        limits = {"ceiling": settings.account_connections, "of_host": settings.host_connections}
        async with open_slots(db, hints, **limits) as slots:
            pool = Pool(tell=hints.tell, slots=slots)
            means = Means(db, vault, Registry(own), Workshop(), manner, pool, oauth)
            work = Work(
                means,
                settings.sync_interval,
                operator=ways(settings),
                keep_events=settings.events_keep,
            )
            due = partial(enqueue_due, db, work.every) if settings.email_sync_enabled else None
            yield House(db, hints, handlers(work), duties(work, polls=due is not None), due)


app = make_app(Settings().celery_broker_url, lambda: opened(Settings()), lambda: try_key(Settings()))
