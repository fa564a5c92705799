"""Connect a mailbox: find its server, log in, see what is there; only then is anything stored.

address ─> settings (given, or found) ─> log in ─> folders ─> estimate
                                                                 │
                          account + sealed secret + event <──────┘   one transaction

Of what was found the first that says yes or no counts: a password that one server refuses is shown to no
other.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from postroom.accounts import credentials, store
from postroom.accounts.autodiscover import Candidate, FoundBy
from postroom.accounts.change import Then, tell
from postroom.accounts.grant import AUTH, OAUTH2, BadGrant, ClientRefused, Grant, Granted
from postroom.accounts.guess import normal_address
from postroom.accounts.identity import IDENTITY, Identity, check_identity
from postroom.accounts.model import Account, AccountState, AlreadyConnected, Scope
from postroom.accounts.oauth import Oauth
from postroom.accounts.scope import check, wants
from postroom.accounts.seek import Seek, guessed
from postroom.accounts.store import tokens
from postroom.accounts.tokens import times
from postroom.db.pool import Connection, Database
from postroom.errors import Conflict, Invalid, NeedsOwner, PostroomError
from postroom.ids import TenantId, new_public_id
from postroom.net.model import EgressRefused
from postroom.providers.model import (
    Estimate,
    Incomplete,
    Login,
    Mailbox,
    NotTrusted,
    Provider,
    TlsRefused,
    TokenRefused,
    Unreachable,
)
from postroom.vault.seal import Vault

MENDABLE = {AccountState.REAUTH_REQUIRED, AccountState.ERROR}
KEPT = {"daily_bytes", "watch_folders", IDENTITY}  # of an account, whatever it is connected with
TRY = 15  # seconds that one candidate has, from its name to the login
NOBODY_THERE = (Unreachable, NotTrusted, TlsRefused, Incomplete, EgressRefused)  # another may do


class NoServerFound(NeedsOwner):
    code = "accounts.no_server_found"


class NothingToCopy(Invalid):
    code = "accounts.nothing_to_copy"


class IsPaused(Conflict):
    code = "accounts.is_paused"


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants connected. Without `settings` they are found by the address.

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
    daily_bytes: int | None = None  # to download in a day; None: as its provider has it
    watch_folders: str | None = None  # a pattern of those that are watched beside the inbox
    grant: Grant | None = None
    granted: Granted | None = None
    identity: Identity | None = None  # who has consented to the grant; None: nobody told


@dataclass(frozen=True, slots=True)
class Found:
    """A login that worked, and what a first sync would copy; with a grant, the tokens that it has now."""

    settings: Mapping[str, Any]
    estimate: Estimate
    found_by: FoundBy | None = None  # None: the settings were given
    granted: Granted | None = None


@dataclass(frozen=True, slots=True)
class Connected:
    account: Account
    estimate: Estimate
    found_by: FoundBy | None = None


async def connect(
    db: Database,
    vault: Vault,
    providers: Mapping[str, Provider],
    tenant: TenantId,
    wish: Wish,
    begin_anew: Then,
    oauth: Oauth | None = None,
    seek: Seek = guessed,
) -> Connected:
    """Connect a mailbox, or one whose last sync failed once more: then its password and settings change, and
    `begin_anew` sees to it that it is synced with these and not with those before. `seek` finds its server.

    Raises `AlreadyConnected`, `BadAddress`, `NoServerFound`, and what the provider raises; nothing is stored.
    """
    address = normal_address(wish.address)
    async with db.transaction(tenant) as conn:
        known = await store.find(conn, tenant, address)
    if known is not None and known.state not in MENDABLE:
        raise connected_already(address)
    check_identity(known.settings if known is not None else {}, address, wish.identity)
    found = await examine(providers, wish, oauth, seek)
    async with db.transaction(tenant) as conn:
        if known is None:
            account = await _add(conn, vault, tenant, address, wish, found)
        else:
            account = await _mend(conn, vault, known, wish, found, begin_anew)
        await tell(conn, account, "accounts.connected" if known is None else "accounts.changed")
        if known is not None and known.needs_owner:
            await tell(conn, account, "accounts.recovered")
    return Connected(account, found.estimate, found.found_by)


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
        raise paused()
    check_identity(account.settings, account.address, wish.identity)
    settings = {key: value for key, value in account.settings.items() if key != AUTH}
    wish = replace(wish, provider=account.provider, settings=settings, scope=account.scope)
    found = await examine(providers, wish, oauth)
    async with db.transaction(account.tenant_id) as conn:
        if (await store.lock(conn, account.tenant_id, account.id)).state is AccountState.PAUSED:
            raise paused()
        changed = await _mend(conn, vault, account, wish, found, begin_anew)
        await tell(conn, changed, "accounts.changed")
        if account.needs_owner:
            await tell(conn, account, "accounts.recovered")


def paused() -> IsPaused:
    return IsPaused("The account is paused; resume it first.")


async def examine(
    providers: Mapping[str, Provider],
    wish: Wish,
    oauth: Oauth | None = None,
    seek: Seek = guessed,
    *,
    spends: bool = True,
) -> Found:
    """Log in and count, storing nothing. Raises as `connect` does.

    With a grant this may use its refresh token up, where the server gives each of them once. Unless it
    `spends`: then there has to be an access token.
    """
    provider = providers[wish.provider]
    address = normal_address(wish.address)
    check(wish.watch_folders)
    asking = oauth or Oauth()
    wish = _where_it_may_go(wish, asking)
    candidates: Sequence[Candidate] = ()
    if wish.settings is None:
        trusted = Path(wish.ca_file) if wish.ca_file else None
        candidates = await seek(address, trusted, by_grant=wish.grant is not None)
    if wish.grant is None:
        return await _searched(provider, address, wish, candidates)
    if wish.granted is None and not spends:
        raise BadGrant("Give an access_token, too: asking for one could use the refresh token up.")
    if wish.granted is not None:
        try:
            found = await _searched(provider, address, _with(wish, wish.granted), candidates)
        except TokenRefused:
            if not spends:
                raise
        else:
            return replace(found, granted=wish.granted)
    return await _refreshed(asking, wish.grant, provider, address, wish, candidates)


async def _refreshed(
    asking: Oauth,
    grant: Grant,
    provider: Provider,
    address: str,
    wish: Wish,
    candidates: Sequence[Candidate],
) -> Found:
    """By an access token that is asked for now."""
    try:
        granted = await asking.refresh(grant, grant.refresh_token)
    except ClientRefused as error:
        raise BadGrant(error.message, **error.data) from error
    try:
        found = await _searched(provider, address, _with(wish, granted), candidates)
    except PostroomError as error:
        if granted.refresh_token is not None:
            error.data["is_grant_spent"] = True  # the one that was given is good for nothing any more
        raise
    return replace(found, granted=granted)


def _where_it_may_go(wish: Wish, oauth: Oauth) -> Wish:
    """A grant of a client that says where its mail is leads there; no stranger's server gets its tokens.

    Raises `OtherServer`.
    """
    client = (
        oauth.clients.get(wish.grant.client) if wish.grant and isinstance(wish.grant.client, str) else None
    )
    if client is None or client.sign_in is None:
        return wish
    if wish.settings is None:
        return replace(wish, settings=client.sign_in.settings)
    client.sign_in.check_server(wish.settings)
    return wish


def _with(wish: Wish, granted: Granted) -> Wish:
    return replace(wish, secret=granted.access_token.reveal())


async def _searched(provider: Provider, address: str, wish: Wish, candidates: Sequence[Candidate]) -> Found:
    """Where the settings say, or at the first of the candidates that says yes or no."""
    if wish.settings is not None:
        given = Candidate(wish.settings, None)
        async with provider.open(_login(address, wish, given.settings)) as mailbox:
            return await _examined(provider, mailbox, address, wish, given)
    met: list[tuple[Candidate, PostroomError]] = []
    for candidate in candidates:
        if candidate.refusal is not None:
            met.append((candidate, candidate.refusal))
            continue
        try:
            return await _tried(provider, address, wish, candidate)
        except NOBODY_THERE as error:
            if candidate.found_by is FoundBy.TABLE:
                raise
            met.append((candidate, error))
    raise _none_of(address, met)


async def _tried(provider: Provider, address: str, wish: Wish, candidate: Candidate) -> Found:
    async with AsyncExitStack() as stack:
        opening = provider.open(_login(address, wish, candidate.settings))
        try:
            async with asyncio.timeout(TRY):
                mailbox = await stack.enter_async_context(opening)
        except TimeoutError as error:
            host = candidate.settings["host"]
            raise Unreachable(f"{host} does not answer within {TRY} seconds.", host=host) from error
        return await _examined(provider, mailbox, address, wish, candidate)


def _login(address: str, wish: Wish, settings: Mapping[str, Any]) -> Login:
    return Login(address, _with_wishes(wish, settings), wish.secret)


def _with_wishes(wish: Wish, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    given = {
        "username": wish.username,
        "ca_file": wish.ca_file,
        "compress": wish.compress,
        "connections": wish.connections,
        AUTH: OAUTH2 if wish.grant else None,
        "daily_bytes": wish.daily_bytes,
        "watch_folders": wish.watch_folders,
        IDENTITY: wish.identity and wish.identity.kept,
    }
    return {**settings, **{key: value for key, value in given.items() if value}}


async def _examined(provider: Provider, mailbox: Mailbox, address: str, wish: Wish, at: Candidate) -> Found:
    folders = [f for f in await mailbox.folders() if f.selectable and wants(wish.scope, f.path)]
    if not folders:
        raise NothingToCopy(f"No folder of {address} matches {wish.scope.folders}.", address=address)
    estimate = await provider.estimate(mailbox, folders)
    return Found(_with_wishes(wish, at.settings), estimate, at.found_by)


def _none_of(address: str, met: Sequence[tuple[Candidate, PostroomError]]) -> PostroomError:
    """What to say when nobody has let us in: of somebody who is there, or whom we may not ask, if any."""
    for kind in (NeedsOwner, EgressRefused):
        for candidate, error in met:
            if isinstance(error, kind) and candidate.found_by is not FoundBy.GUESS:
                return error
    for _, error in met:
        if isinstance(error, NeedsOwner | EgressRefused):
            return error
    hosts = ", ".join(dict.fromkeys(candidate.settings["host"] for candidate, _ in met))
    return NoServerFound(
        f"No mail server answers for {address} (tried {hosts}); name it with --server imaps://HOST:PORT.",
        address=address,
        tried=[{"host": one.settings["host"], "found_by": one.found_by, "code": e.code} for one, e in met],
    )


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
        raise connected_already(address)
    await _keep(conn, vault, account, found)
    return account


async def _mend(
    conn: Connection, vault: Vault, known: Account, wish: Wish, found: Found, begin_anew: Then
) -> Account:
    """What is copied, how often and how much of it in a day, and what is watched, stays as it was chosen."""
    today = await store.lock(conn, known.tenant_id, known.id)
    if today.state is AccountState.PAUSED:
        raise connected_already(known.address)  # paused or being removed, while we asked the server
    check_identity(today.settings, known.address, wish.identity)
    sealed = _sealed(vault, known.tenant_id, known.public_id, wish)
    kept = {key: value for key, value in today.settings.items() if key in KEPT}
    settings = {**kept, **found.settings}
    await store.set_credentials(conn, known.tenant_id, known.id, settings, sealed)
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


def connected_already(address: str) -> AlreadyConnected:
    return AlreadyConnected(f"{address} is connected already.", address=address)
