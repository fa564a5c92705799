"""Have a mailbox connected by a consent that somebody gives in a browser. `consent` draws the way.

begin    a row, and the URL to send the person to
arrive   the row is used up; whose it was, and whether it is this browser's: else nobody is told of it
finish   the code is exchanged, the account connected as by any other grant: who asked is told how it ended

A process that is stopped while it finishes loses the grant, and whoever consented has to do so again. To keep
the tokens before the mail server has taken them would be one more place with secrets, of nobody's account,
and a duty to end or use them; what it would save is half a minute of one person's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from postroom.accounts import consent, store
from postroom.accounts.change import Then
from postroom.accounts.connect import MENDABLE, Wish, connect, connected_already, paused, renew
from postroom.accounts.consent import (
    Answer,
    BadReturnUrl,
    NoAddress,
    NoSuchClient,
    OtherBrowser,
    SignIn,
    SignInFailed,
    WrongIssuer,
)
from postroom.accounts.grant import Grant, Granted
from postroom.accounts.guess import normal_address
from postroom.accounts.identity import Identity, identity
from postroom.accounts.model import Account, AccountState
from postroom.accounts.oauth import Exchanged, Oauth
from postroom.accounts.scope import check
from postroom.accounts.store import consents
from postroom.accounts.waiting import Asker, Waiting, waiting_of, waiting_text
from postroom.db.pool import Connection, Database
from postroom.errors import Broken
from postroom.http.caller import Caller, Scope
from postroom.ids import TenantId
from postroom.people import store as people
from postroom.people.keys import digest_of, new_text
from postroom.people.model import SCOPES
from postroom.providers.model import Provider
from postroom.vault.model import Secret, Slot
from postroom.vault.seal import Vault

LIFE = timedelta(minutes=10)

logger = structlog.get_logger()


class NoPublicUrl(Broken):
    code = "accounts.no_public_url"


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants. `wish` without an address: the mailbox of whoever signs in.

    `account`: one that is connected, instead of a new one; nothing else of `wish` counts then.
    """

    client: str
    wish: Wish
    account: UUID | None = None
    return_to: str | None = None
    state: str | None = None  # their own


@dataclass(frozen=True, slots=True)
class Begun:
    url: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Arrived:
    """Somebody who came back from a consent that was asked for."""

    tenant: TenantId
    client: str
    answer: Answer = field(repr=False)
    waiting: Waiting = field(repr=False)
    at: datetime  # when, by the database's clock

    def onward(self, **said: str) -> str | None:
        """Where the browser goes now, with what is told there; None: nobody said where."""
        if self.waiting.return_to is None:
            return None
        return consent.with_query(self.waiting.return_to, {**said, "state": self.waiting.state})


@dataclass(frozen=True, slots=True)
class Consents:
    """See the module."""

    db: Database
    vault: Vault
    oauth: Oauth
    providers: Mapping[str, Provider]
    begin_anew: Then
    public_url: str | None = None
    return_urls: frozenset[str] = frozenset()

    async def begin(self, caller: Caller, asked: Asked, browser: str | None = None) -> Begun:
        """`browser`: what the browser will show, if the person is asked in the one that begins this.

        Raises `NoSuchClient`, `BadReturnUrl`, `NoAddress`, `AlreadyConnected`, `NoSuchAccount`, `IsPaused`,
        `OtherServer`, `BadPattern`.
        """
        sign_in = self._sign_in(asked.client)
        if asked.return_to is not None and asked.return_to not in self.return_urls:
            raise BadReturnUrl("return_to is none of POSTROOM_OAUTH_RETURN_URLS, letter by letter.")
        callback = self._callback(asked.client)
        state, verifier, nonce = new_text("pc_"), new_text(""), new_text("")
        async with self.db.transaction(caller.tenant) as conn:
            account, address = await _wanted(conn, caller.tenant, asked, sign_in)
            waiting = Waiting(
                Secret(verifier),
                nonce,
                Asker.of(caller),
                replace(asked.wish, address=address or ""),
                asked.account,
                asked.return_to,
                asked.state,
            )
            digest = digest_of(state)
            until = await consents.add(
                conn,
                caller.tenant,
                digest,
                browser=digest_of(browser) if browser is not None else None,
                client=asked.client,
                account=account.id if account else None,
                secret=self.vault.seal(waiting_text(waiting), _slot(caller.tenant, digest)),
                good_for=LIFE,
            )
        url = consent.url(
            sign_in,
            client_id=self.oauth.named(asked.client).client_id,
            redirect_uri=callback,
            state=state,
            nonce=nonce,
            verifier=verifier,
            hint=address,
        )
        return Begun(url, until)

    async def arrive(
        self, client: str, query: Iterable[tuple[str, str]], browser: str | None = None
    ) -> Arrived:
        """Who came back to the callback of `client`, with which answer. Their state is used up in any case.

        Raises `BadState`, `OtherBrowser`, `WrongIssuer`: then nothing is known of them that could be told.
        """
        answer = consent.answer_of(query)
        digest = digest_of(answer.state)
        async with self.db.single() as conn:
            stored = await consents.use(conn, digest)
        if stored is None:
            raise consent.nobody_asked()
        if stored.browser is not None and (browser is None or digest_of(browser) != stored.browser):
            raise OtherBrowser("This consent was begun in another browser; begin again in this one.")
        if stored.client != client:
            raise WrongIssuer("This answer is not from the provider that was asked.")
        consent.check_issuer(self._sign_in(client), answer)
        waiting = waiting_of(self.vault.open(stored.secret, _slot(stored.tenant, digest)))
        async with self.db.transaction(stored.tenant) as conn:
            if not await _still_may(conn, stored.tenant, waiting.asker, stored.at):
                raise OtherBrowser(
                    "Who began this has signed out meanwhile, or may not connect mailboxes any more."
                )
        return Arrived(stored.tenant, client, answer, waiting, stored.at)

    async def finish(self, arrived: Arrived) -> Account:
        """The account, connected. Raises what `connect` and `renew` do, `ConsentDenied`, `SignInFailed`,
        `OtherMailbox`, `NoAddress`, and as `Oauth.exchange`.
        """
        client, waiting, answer = arrived.client, arrived.waiting, arrived.answer
        sign_in = self._sign_in(client)
        if answer.code is None:
            raise consent.refusal(answer.error or "")
        exchanged = await self.oauth.exchange(
            client, Secret(answer.code), waiting.verifier, self._callback(client)
        )
        who, granted = self._who(arrived, sign_in, exchanged), exchanged.granted
        if granted.refresh_token is None:
            raise SignInFailed(
                "The provider gave no refresh token; this client's scope or parameters have to ask for one."
            )
        wish = replace(
            waiting.wish,
            grant=Grant(granted.refresh_token, client),
            granted=Granted(granted.access_token, granted.life),
            identity=who,
        )
        if waiting.account is not None:  # whose server, and what is copied of it, stay
            return await self._renewed(arrived.tenant, waiting.account, wish)
        address = wish.address or (who.addresses[0] if who and who.addresses else "")
        if not address:
            raise _no_address()
        wish = replace(wish, address=address, username=sign_in.username_of(address))
        connected = await connect(
            self.db, self.vault, self.providers, arrived.tenant, wish, self.begin_anew, self.oauth
        )
        return connected.account

    async def _renewed(self, tenant: TenantId, account: UUID, wish: Wish) -> Account:
        async with self.db.transaction(tenant) as conn:
            known = await store.get(conn, tenant, account)
        login = Wish(known.address, grant=wish.grant, granted=wish.granted, identity=wish.identity)
        await renew(self.db, self.vault, self.providers, known, login, self.begin_anew, self.oauth)
        return known

    def _who(self, arrived: Arrived, sign_in: SignIn, exchanged: Exchanged) -> Identity | None:
        if not sign_in.tells_who or sign_in.issuer is None:
            return None
        if exchanged.id_token is None:
            raise SignInFailed("The provider did not say who has signed in: no id token came.")
        return identity(
            exchanged.id_token,
            issuer=sign_in.issuer,
            client_id=self.oauth.named(arrived.client).client_id,
            nonce=arrived.waiting.nonce,
            now=arrived.at,
        )

    def _sign_in(self, client: str) -> SignIn:
        known = self.oauth.clients.get(client)
        if known is None or known.sign_in is None:
            raise NoSuchClient(
                "This installation has no client of that name with an authorization_url; see "
                "POSTROOM_OAUTH_CLIENTS."
            )
        return known.sign_in

    def _callback(self, client: str) -> str:
        if self.public_url is None:
            raise NoPublicUrl("Set POSTROOM_PUBLIC_URL: providers send people back to it.")
        return consent.callback(self.public_url, client)


async def _wanted(
    conn: Connection, tenant: TenantId, asked: Asked, sign_in: SignIn
) -> tuple[Account | None, str | None]:
    """The account that gets another grant, if any; and the mailbox's address, if it is known by now."""
    if asked.account is not None:
        account = await store.get(conn, tenant, asked.account)
        if account.state is AccountState.PAUSED:
            raise paused()
        sign_in.check_server(account.settings)
        return account, account.address
    check(asked.wish.watch_folders)
    if not asked.wish.address:
        if not sign_in.tells_who:
            raise _no_address()
        return None, None
    address = normal_address(asked.wish.address)
    known = await store.find(conn, tenant, address)
    if known is not None and known.state not in MENDABLE:
        raise connected_already(address)
    return None, address


async def _still_may(conn: Connection, tenant: TenantId, asker: Asker, now: datetime) -> bool:
    """Whether who began could do it now."""
    if asker.key is not None:
        key = await people.key(conn, tenant, asker.key)
        if key is None or key.revoked_at is not None:
            return False
        is_over = key.expires_at is not None and key.expires_at <= now
        return not is_over and Scope.ADMIN in key.scopes
    member = await people.member(conn, tenant, asker.person) if asker.person is not None else None
    if member is None or Scope.ADMIN not in SCOPES[member.role]:
        return False
    if asker.session is None:
        return True
    return any(session.public_id == asker.session for session in await people.sessions(conn, tenant))


def _no_address() -> NoAddress:
    return NoAddress(
        "Nobody says which mailbox this is: name its address, or have the client ask for openid and email."
    )


def _slot(tenant: TenantId, state: bytes) -> Slot:
    return Slot(tenant, state.hex(), "accounts_consent.secret")
