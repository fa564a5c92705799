"""Opens the installation that a command works on: its data folder, database, keys and only tenant.

The database is the one of POSTROOM_DATABASE_URL or --database-url; else the embedded PostgreSQL in the data
folder, which runs for as long as any command or `up` needs it. Either way the folder holds

    secret.key    seals credentials, unless POSTROOM_SECRET_KEY does
    api.key       the first API key
    postroom.log  what commands log
"""

import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError

from postroom import telemetry
from postroom.accounts import store as accounts
from postroom.accounts.guess import normal_address
from postroom.accounts.model import Account, NoSuchAccount
from postroom.accounts.oauth import Oauth, clients_of
from postroom.db.embedded import running
from postroom.db.embedded.folder import MARKER, claim
from postroom.db.listen import Hints, open_hints
from postroom.db.migrate import migrate
from postroom.db.pool import Database, open_pool
from postroom.errors import Invalid
from postroom.events import feed
from postroom.executor.handlers import Work
from postroom.ids import AccountId, TenantId
from postroom.net.client import Client
from postroom.net.egress import Egress
from postroom.people import keys
from postroom.providers.pool import Pool
from postroom.providers.registry import Registry
from postroom.providers.slots import Slots, open_slots
from postroom.settings import Settings
from postroom.sync.pace import Pace
from postroom.sync.perform import Means, Outcome
from postroom.sync.run import Manner
from postroom.sync.workshop import Workshop
from postroom.vault import keys as vault_keys
from postroom.vault.check import check
from postroom.vault.model import Secret
from postroom.vault.seal import Vault

DEBUG = "POSTROOM_DEBUG"
LOG = "postroom.log"
LARGEST_LOG = 10 << 20
PAGE = 1000


class BadSetting(Invalid):
    """A setting in the environment or on the command line makes no sense."""

    code = "cli.bad_setting"


@dataclass(frozen=True, slots=True)
class Installation:
    settings: Settings
    data: Path
    database: Database
    hints: Hints
    vault: Vault
    providers: Registry
    tenant: TenantId
    key: keys.FirstKey
    slots: Slots | None = None  # none: nothing is synced here

    @property
    def oauth(self) -> Oauth:
        """Token servers may be in our own network, as mail servers may."""
        return Oauth(Client(Egress(private_allowed=True)), clients_of(self.settings.oauth_clients))

    def means(self, shop: Workshop | None = None) -> Means:
        """What it takes to sync; a `shop` reads a first sync's mail in a process of its own."""
        manner = Manner(grace=self.settings.sync_grace, pause=self.settings.login_pause)
        pool = Pool(tell=self.hints.tell, slots=self.slots)  # keeps none; an executor has its own
        shop = shop or Workshop()
        return Means(self.database, self.vault, self.providers, shop, manner, pool, self.oauth)

    def work(self, shop: Workshop, told: Callable[[Outcome], None]) -> Work:
        """What it takes to run jobs; `told` hears of each sync that ended in this process."""
        pace = Pace(self.settings.watch_sweep, self.settings.watch_silence)
        return Work(self.means(shop), self.settings.sync_interval, told, pace)


def read_settings(data: Path | None, database_url: str | None, **more: Any) -> Settings:
    """What the environment says, and above it what the command line says. Raises `BadSetting`."""
    given = {"data": data, "database_url": database_url, **more}
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = f"POSTROOM_{first['loc'][0]}".upper()
        raise BadSetting(f"The setting {name} makes no sense: {first['msg']}.") from None
    except SettingsError as error:  # a list that is not written in JSON
        raise BadSetting(f"The environment makes no sense: {error}.") from None
    return settings.model_copy(update={"data": settings.data.expanduser().absolute()})


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Installation]:
    """Everything a command needs, made at first use. Raises what `db`, `vault` and `people` raise."""
    claim(settings.data)
    async with AsyncExitStack() as stack:
        _log_to(settings.data, stack)
        dsn = settings.database_url
        if dsn is None:
            dsn = await stack.enter_async_context(running(settings.data))
        await migrate(dsn)
        database = await stack.enter_async_context(open_pool(dsn))
        await feed.mind_restore(database)
        given = settings.secret_key
        vault = vault_keys.load(settings.data, Secret(given.get_secret_value()) if given else None)
        # One tenant, who owns this machine: servers in its own network are fine.
        providers = Registry(Egress(private_allowed=True))
        tenant = await keys.our_tenant(database)
        key = await keys.first_key(database, tenant, settings.data)
        hints = await stack.enter_async_context(open_hints(database))
        slots = await stack.enter_async_context(
            open_slots(
                database, hints, ceiling=settings.account_connections, of_host=settings.host_connections
            )
        )
        yield Installation(settings, settings.data, database, hints, vault, providers, tenant, key, slots)


@asynccontextmanager
async def unlocked(settings: Settings) -> AsyncIterator[Installation]:
    """The same, for a command that opens or seals secrets. Raises `WrongKey` where it could not."""
    async with opened(settings) as house:
        async with house.database.unbound() as conn:
            await check(conn, house.vault)
        yield house


def log_file(data: Path | None) -> Path | None:
    """Where this installation logs; None before there is a folder that is ours."""
    folder = read_settings(data, None).data
    return folder / LOG if (folder / MARKER).exists() else None


def _log_to(data: Path, stack: AsyncExitStack) -> None:
    """Log into the folder, not onto the screen of somebody who reads results there; unless asked for."""
    if os.environ.get(DEBUG):
        telemetry.set_up(level=logging.DEBUG)
        return
    path = data / LOG
    if path.exists() and path.stat().st_size > LARGEST_LOG:
        path.replace(path.with_name(f"{LOG}.1"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    stream = stack.enter_context(os.fdopen(descriptor, "w", buffering=1))
    telemetry.set_up(stream=stream, for_people=False)
    stack.callback(logging.shutdown)


async def account_named(house: Installation, address: str) -> Account:
    """The account with this address, whatever the case. Raises `NoSuchAccount`."""
    async with house.database.transaction(house.tenant) as conn:
        found = await accounts.find(conn, house.tenant, normal_address(address))
    if found is None:
        raise NoSuchAccount(f"No account {address} is connected; see `postroom status`.")
    return found


async def all_accounts(house: Installation) -> list[Account]:
    """Every account, in the order in which they were connected."""
    found: list[Account] = []
    async with house.database.transaction(house.tenant) as conn:
        after = AccountId(0)
        while page := await accounts.list_after(conn, house.tenant, after, PAGE):
            found += page
            after = page[-1].id
    return found
