"""Opens an installation inside another application: the database, keys, news, the engine, and the API."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from fastapi import FastAPI

from postroom.accounts.clients import clients_of
from postroom.accounts.oauth import Oauth
from postroom.accounts.seeker import Seeker
from postroom.alerts.ways import ways
from postroom.api.app import create_app
from postroom.api.live import Live, live
from postroom.db.embedded.client import running
from postroom.db.listen import Hints, open_hints
from postroom.db.migrate import migrate
from postroom.db.pool import Database, open_pool
from postroom.events import feed
from postroom.executor.handlers import Work
from postroom.executor.run import executing
from postroom.ids import TenantId
from postroom.net.client import Client
from postroom.net.egress import Egress
from postroom.people import keys, store
from postroom.people.tokens import Issuers, open_issuers
from postroom.providers.pool import Pool
from postroom.providers.registry import Registry
from postroom.providers.slots import Slots, open_slots
from postroom.settings import Settings
from postroom.sync.pace import Pace
from postroom.sync.perform import Means
from postroom.sync.run import Manner
from postroom.sync.workshop import Workshop
from postroom.vault import keys as vault_keys
from postroom.vault.check import check
from postroom.vault.model import Secret
from postroom.vault.seal import Vault


@dataclass(frozen=True)
class House:
    settings: Settings
    dsn: str
    database: Database
    hints: Hints
    vault: Vault
    slots: Slots
    news: Live
    issuers: Issuers
    tenant: TenantId  # of the command line, and of an application that has one only
    public_id: UUID

    @cached_property
    def providers(self) -> Registry:
        return Registry(Egress(self.settings.private_allowed))

    @cached_property
    def oauth(self) -> Oauth:
        return Oauth(Client(self.providers.allowed), clients_of(self.settings.oauth_clients))

    def app(self, settings: Settings | None = None) -> FastAPI:
        """The API. The application's server logs who asks, and nobody the application's own calls."""
        seek = Seeker(self.providers.allowed, ispdb=self.settings.autoconfig_ispdb)
        return create_app(
            self.database,
            settings or self.settings,
            self.vault,
            self.providers,
            self.news,
            self.oauth,
            seek,
            self.issuers,
            access_log=False,
        )

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Run jobs and poll mailboxes while the block runs, as `postroom executor` does.

        Mail is read in threads: a process that is spawned would import the application's main module.
        """
        settings = self.settings
        manner = Manner(grace=settings.sync_grace, pause=settings.login_pause)
        pool = Pool(tell=self.hints.tell, slots=self.slots)
        means = Means(self.database, self.vault, self.providers, Workshop(), manner, pool, self.oauth)
        pace = Pace(settings.watch_sweep, settings.watch_silence)
        async with executing(
            Work(
                means,
                settings.sync_interval,
                pace=pace,
                allowed=self.providers.allowed,
                operator=ways(settings),
                keep_events=settings.events_keep,
            ),
            self.hints,
            workers=settings.workers,
            patience=settings.stop_patience,
            polls=settings.email_sync_enabled,
        ):
            yield


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[House]:
    """An installation, migrated. Raises what `db` and `vault` raise, `WrongKey` where secrets stay sealed."""
    async with AsyncExitStack() as stack:
        dsn = settings.database_url
        if dsn is None:
            dsn = await stack.enter_async_context(running(settings.data))
        await migrate(dsn)
        database = await stack.enter_async_context(open_pool(dsn))
        await feed.mind_restore(database)
        given = settings.secret_key
        vault = vault_keys.load(settings.data, Secret(given.get_secret_value()) if given else None)
        async with database.unbound() as conn:
            await check(conn, vault)
        tenant = await keys.our_tenant(database)
        async with database.transaction(tenant) as conn:
            public_id = (await store.tenant_of(conn, tenant)).public_id
        hints = await stack.enter_async_context(open_hints(database))
        limits = {"ceiling": settings.account_connections, "of_host": settings.host_connections}
        slots = await stack.enter_async_context(open_slots(database, hints, **limits))
        news = await stack.enter_async_context(live(database, hints))
        issuers = await stack.enter_async_context(open_issuers(settings.issuers))
        yield House(settings, dsn, database, hints, vault, slots, news, issuers, tenant, public_id)
