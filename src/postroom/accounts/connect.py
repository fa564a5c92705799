"""Connect a mailbox: find its server, log in, see what is there; only then is anything stored.

address ─> settings (given, or guessed) ─> log in ─> folders ─> estimate
                                                                   │
                            account + sealed secret + event <──────┘   one transaction
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from postroom.accounts import credentials, store
from postroom.accounts.change import Then, tell
from postroom.accounts.guess import guess, normal_address
from postroom.accounts.model import Account, AccountState, AlreadyConnected, Scope
from postroom.accounts.scope import wants
from postroom.db.pool import Connection, Database
from postroom.errors import Invalid, NeedsOwner
from postroom.ids import TenantId, new_public_id
from postroom.providers.model import (
    Estimate,
    Login,
    NotTrusted,
    Provider,
    TlsRefused,
    Unreachable,
)
from postroom.vault.seal import Vault

MENDABLE = {AccountState.REAUTH_REQUIRED, AccountState.ERROR}


class NoServerFound(NeedsOwner):
    code = "accounts.no_server_found"


class NothingToCopy(Invalid):
    code = "accounts.nothing_to_copy"


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants connected. Without `settings` they are guessed from the address."""

    address: str
    secret: str = field(repr=False)
    provider: str = "imap"
    settings: Mapping[str, Any] | None = None
    username: str | None = None  # None: the address, or what the table of providers says
    ca_file: str | None = None
    scope: Scope = field(default_factory=Scope)
    poll_every: timedelta | None = None
    compress: str | None = None  # whether an IMAP server is to: auto, always, never
    connections: int | None = None  # so many at a time; None: as its provider is known, or the setting


@dataclass(frozen=True, slots=True)
class Found:
    """A login that worked, and what a first sync would copy."""

    settings: Mapping[str, Any]
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class Connected:
    account: Account
    estimate: Estimate


async def connect(
    db: Database,
    vault: Vault,
    providers: Mapping[str, Provider],
    tenant: TenantId,
    wish: Wish,
    begin_anew: Then,
) -> Connected:
    """Connect a mailbox, or one whose last sync failed once more: then its password and settings change, and
    `begin_anew` sees to it that it is synced with these and not with those before.

    Raises `AlreadyConnected`, `BadAddress`, `NoServerFound`, and what the provider raises; nothing is stored.
    """
    address = normal_address(wish.address)
    async with db.transaction(tenant) as conn:
        known = await store.find(conn, tenant, address)
    if known is not None and known.state not in MENDABLE:
        raise _connected_already(address)
    found = await examine(providers, wish)
    async with db.transaction(tenant) as conn:
        if known is None:
            account = await _add(conn, vault, tenant, address, wish, found)
        else:
            account = await _mend(conn, vault, known, wish, found, begin_anew)
        await tell(conn, account, "accounts.connected" if known is None else "accounts.changed")
        if known is not None and known.needs_owner:
            await tell(conn, account, "accounts.recovered")
    return Connected(account, found.estimate)


async def examine(providers: Mapping[str, Provider], wish: Wish) -> Found:
    """Log in and count, storing nothing. Raises as `connect` does."""
    provider = providers[wish.provider]
    address = normal_address(wish.address)
    if wish.settings is not None:
        return await _examined(provider, address, wish, wish.settings)
    guessed = guess(address)
    told: list[NeedsOwner] = []
    for settings in guessed.settings:
        try:
            return await _examined(provider, address, wish, settings)
        except (Unreachable, NotTrusted, TlsRefused) as error:
            if guessed.known:
                raise
            if isinstance(error, NeedsOwner):
                told.append(error)
    if told:
        raise told[0]  # somebody is there: that says more than that others are not
    hosts = ", ".join(dict.fromkeys(settings["host"] for settings in guessed.settings))
    raise NoServerFound(
        f"No mail server answers for {address} (tried {hosts}); name it with --server imaps://HOST:PORT.",
        address=address,
    )


async def _examined(provider: Provider, address: str, wish: Wish, settings: Mapping[str, Any]) -> Found:
    given = {
        "username": wish.username,
        "ca_file": wish.ca_file,
        "compress": wish.compress,
        "connections": wish.connections,
    }
    settings = {**settings, **{key: value for key, value in given.items() if value}}
    async with provider.open(Login(address, settings, wish.secret)) as mailbox:
        folders = [f for f in await mailbox.folders() if f.selectable and wants(wish.scope, f.path)]
        if not folders:
            raise NothingToCopy(f"No folder of {address} matches {wish.scope.folders}.", address=address)
        return Found(settings, await provider.estimate(mailbox, folders))


async def _add(
    conn: Connection, vault: Vault, tenant: TenantId, address: str, wish: Wish, found: Found
) -> Account:
    public_id = new_public_id()
    account = await store.add(
        conn,
        tenant,
        public_id,
        address=address,
        provider=wish.provider,
        settings=found.settings,
        secret=credentials.seal(vault, tenant, public_id, wish.secret) if wish.secret else None,
        scope=wish.scope,
        poll_every=wish.poll_every,
    )
    if account is None:  # somebody was faster
        raise _connected_already(address)
    return account


async def _mend(
    conn: Connection, vault: Vault, known: Account, wish: Wish, found: Found, begin_anew: Then
) -> Account:
    """What is copied, and how often, stays as it was chosen."""
    if (await store.lock(conn, known.tenant_id, known.id)).state is AccountState.PAUSED:
        raise _connected_already(known.address)  # paused or being removed, while we asked the server
    sealed = credentials.seal(vault, known.tenant_id, known.public_id, wish.secret) if wish.secret else None
    await store.set_credentials(conn, known.tenant_id, known.id, found.settings, sealed)
    account = await store.get_by_id(conn, known.tenant_id, known.id)
    await begin_anew(conn, account)
    return account


def _connected_already(address: str) -> AlreadyConnected:
    return AlreadyConnected(f"{address} is connected already.", address=address)
