"""Opens the installation that a command works on: its data folder, database, keys and only tenant.

The database is the one of POSTROOM_DATABASE_URL or --database-url; else the embedded PostgreSQL in the data
folder, which runs for as long as any command or `up` needs it. Either way the folder holds

    secret.key    seals credentials, unless POSTROOM_SECRET_KEY does
    api.key       the first API key
    postroom.log  what commands log
"""

import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from postroom import telemetry
from postroom.accounts import store as accounts
from postroom.accounts.clients import clients_of
from postroom.accounts.guess import normal_address
from postroom.accounts.model import Account, NoSuchAccount
from postroom.accounts.oauth import Oauth
from postroom.cli import starting
from postroom.cli.given import DEBUG, LOG
from postroom.cli.outward import Providers
from postroom.db.listen import Hints, open_hints
from postroom.db.migrate import migrate
from postroom.db.pool import Database, open_pool
from postroom.events import feed
from postroom.ids import AccountId, TenantId
from postroom.net.client import Client
from postroom.net.egress import Egress
from postroom.people import keys
from postroom.providers.model import Provider
from postroom.providers.slots import Slots, open_slots
from postroom.settings import Settings
from postroom.vault import keys as vault_keys
from postroom.vault.check import check
from postroom.vault.model import Secret
from postroom.vault.seal import Vault

LARGEST_LOG = 10 << 20
PAGE = 1000


@dataclass(frozen=True, slots=True)
class Installation:
    settings: Settings
    data: Path
    database: Database
    hints: Hints
    vault: Vault
    providers: Mapping[str, Provider]
    tenant: TenantId
    key: keys.FirstKey
    slots: Slots | None = None  # none: nothing is synced here

    @property
    def oauth(self) -> Oauth:
        """Token servers may be where mail servers may."""
        return Oauth(Client(self.allowed), clients_of(self.settings.oauth_clients))

    @property
    def allowed(self) -> Egress:
        """Who owns this machine may use servers in its own network; strangers who sign in may not."""
        return Egress(self.settings.private_allowed)


@asynccontextmanager
async def opened(settings: Settings, dsn: str | None = None) -> AsyncIterator[Installation]:
    """Everything a command needs, made at first use. Raises what `db`, `vault` and `people` raise.

    `dsn`: the URL of its database, where that has been started.
    """
    async with AsyncExitStack() as stack:
        if dsn is None:
            dsn = await stack.enter_async_context(starting.database(settings))
        _log_to(settings.data, stack)
        await migrate(dsn)
        database = await stack.enter_async_context(open_pool(dsn))
        await feed.mind_restore(database)
        given = settings.secret_key
        vault = vault_keys.load(settings.data, Secret(given.get_secret_value()) if given else None)
        providers = Providers(Egress(settings.private_allowed))
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
async def unlocked(settings: Settings, dsn: str | None = None) -> AsyncIterator[Installation]:
    """The same, for a command that opens or seals secrets. Raises `WrongKey` where it could not."""
    async with opened(settings, dsn) as house:
        async with house.database.unbound() as conn:
            await check(conn, house.vault)
        yield house


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
