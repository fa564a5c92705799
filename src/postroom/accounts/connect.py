"""Connect a mailbox: find its server, log in, see what is there; only then is anything stored.

address ─> settings (given, or guessed) ─> log in ─> folders ─> estimate
                                                                   │
                            account + sealed secret + event <──────┘   one transaction
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from postroom.accounts import credentials, store
from postroom.accounts.change import Then, tell
from postroom.accounts.grant import AUTH, OAUTH2, BadGrant, ClientRefused, Grant, Granted
from postroom.accounts.guess import guess, normal_address
from postroom.accounts.model import Account, AccountState, AlreadyConnected, Scope
from postroom.accounts.oauth import Oauth
from postroom.accounts.scope import wants
from postroom.accounts.store import tokens
from postroom.accounts.tokens import times
from postroom.db.pool import Connection, Database
from postroom.errors import Conflict, Invalid, NeedsOwner, PostroomError
from postroom.ids import TenantId, new_public_id
from postroom.providers.model import (
    Estimate,
    Login,
    NotTrusted,
    Provider,
    TlsRefused,
    TokenRefused,
    Unreachable,
)
from postroom.vault.seal import Vault

MENDABLE = {AccountState.REAUTH_REQUIRED, AccountState.ERROR}


class NoServerFound(NeedsOwner):
    code = "accounts.no_server_found"


class NothingToCopy(Invalid):
    code = "accounts.nothing_to_copy"


class IsPaused(Conflict):
    code = "accounts.is_paused"


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants connected. Without `settings` they are guessed from the address.

    One logs in with the password `secret`, or by `grant`; then with the access token `granted`, if one came
    with it, else with one that is asked for.
    """

    address: str
    secret: str = field(repr=False, default="")
    provider: str = "imap"
    settings: Mapping[str, Any] | None = None
    username: str | None = None  # None: the address, or what the table of providers says
    ca_file: str | None = None
    scope: Scope = field(default_factory=Scope)
    poll_every: timedelta | None = None
    compress: str | None = None  # whether an IMAP server is to: auto, always, never
    connections: int | None = None  # so many at a time; None: as its provider is known, or the setting
    grant: Grant | None = None
    granted: Granted | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A login that worked, and what a first sync would copy; with a grant, the tokens that it has now."""

    settings: Mapping[str, Any]
    estimate: Estimate
    granted: Granted | None = None


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
    oauth: Oauth | None = None,
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
    found = await examine(providers, wish, oauth)
    async with db.transaction(tenant) as conn:
        if known is None:
            account = await _add(conn, vault, tenant, address, wish, found)
        else:
            account = await _mend(conn, vault, known, wish, found, begin_anew)
        await tell(conn, account, "accounts.connected" if known is None else "accounts.changed")
        if known is not None and known.needs_owner:
            await tell(conn, account, "accounts.recovered")
    return Connected(account, found.estimate)


async def renew(
    db: Database,
    vault: Vault,
    providers: Mapping[str, Provider],
    account: Account,
    wish: Wish,
    begin_anew: Then,
    oauth: Oauth | None = None,
) -> None:
    """Give an account, however it is doing, the password or grant of `wish`; its server stays.

    Raises `IsPaused`, and what `connect` raises; nothing is changed then.
    """
    if account.state is AccountState.PAUSED:
        raise _paused()
    settings = {key: value for key, value in account.settings.items() if key != AUTH}
    wish = replace(wish, provider=account.provider, settings=settings, scope=account.scope)
    found = await examine(providers, wish, oauth)
    async with db.transaction(account.tenant_id) as conn:
        if (await store.lock(conn, account.tenant_id, account.id)).state is AccountState.PAUSED:
            raise _paused()
        changed = await _mend(conn, vault, account, wish, found, begin_anew)
        await tell(conn, changed, "accounts.changed")
        if account.needs_owner:
            await tell(conn, account, "accounts.recovered")


def _paused() -> IsPaused:
    return IsPaused("The account is paused; resume it first.")


async def examine(providers: Mapping[str, Provider], wish: Wish, oauth: Oauth | None = None) -> Found:
    """Log in and count, storing nothing. Raises as `connect` does.

    With a grant this may use its refresh token up, where the server gives each of them once.
    """
    provider = providers[wish.provider]
    address = normal_address(wish.address)
    if wish.grant is None:
        return await _searched(provider, address, wish)
    asking = oauth or Oauth()
    if wish.granted is not None:
        with suppress(TokenRefused):
            found = await _searched(provider, address, _with(wish, wish.granted))
            return replace(found, granted=wish.granted)
    try:
        granted = await asking.refresh(wish.grant, wish.grant.refresh_token)
    except ClientRefused as error:
        raise BadGrant(error.message, **error.data) from error
    try:
        found = await _searched(provider, address, _with(wish, granted))
    except PostroomError as error:
        if granted.refresh_token is not None:
            error.data["is_grant_spent"] = True  # the one that was given is good for nothing any more
        raise
    return replace(found, granted=granted)


def _with(wish: Wish, granted: Granted) -> Wish:
    return replace(wish, secret=granted.access_token.reveal())


async def _searched(provider: Provider, address: str, wish: Wish) -> Found:
    """Where the settings say, or wherever the server may be."""
    if wish.settings is not None:
        return await _examined(provider, address, wish, wish.settings)
    guessed = guess(address, by_grant=wish.grant is not None)
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
        AUTH: OAUTH2 if wish.grant else None,
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
        secret=_sealed(vault, tenant, public_id, wish),
        scope=wish.scope,
        poll_every=wish.poll_every,
    )
    if account is None:  # somebody was faster
        raise _connected_already(address)
    await _keep(conn, vault, account, found)
    return account


async def _mend(
    conn: Connection, vault: Vault, known: Account, wish: Wish, found: Found, begin_anew: Then
) -> Account:
    """What is copied, and how often, stays as it was chosen."""
    if (await store.lock(conn, known.tenant_id, known.id)).state is AccountState.PAUSED:
        raise _connected_already(known.address)  # paused or being removed, while we asked the server
    sealed = _sealed(vault, known.tenant_id, known.public_id, wish)
    await store.set_credentials(conn, known.tenant_id, known.id, found.settings, sealed)
    account = await store.get_by_id(conn, known.tenant_id, known.id)
    await _keep(conn, vault, account, found)
    await begin_anew(conn, account)
    return account


def _sealed(vault: Vault, tenant: TenantId, public_id: UUID, wish: Wish) -> str | None:
    if wish.grant is not None:
        return credentials.seal_grant(vault, tenant, public_id, wish.grant)
    return credentials.seal(vault, tenant, public_id, wish.secret) if wish.secret else None


async def _keep(conn: Connection, vault: Vault, account: Account, found: Found) -> None:
    """The tokens of a grant, with the account or not at all: its own refresh token may be spent."""
    if found.granted is None or (number := await tokens.begin(conn, account)) is None:
        return
    fresh, life = times(found.granted)
    sealed = credentials.seal_token(vault, account, found.granted)
    await tokens.keep(conn, account, number, sealed, fresh=fresh, life=life)


def _connected_already(address: str) -> AlreadyConnected:
    return AlreadyConnected(f"{address} is connected already.", address=address)
