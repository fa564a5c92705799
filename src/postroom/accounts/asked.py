"""What callers of the API ask for: a mailbox to be connected, or changed."""

from datetime import date, timedelta
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import Field, SecretStr, model_validator

from postroom.accounts.connect import Wish
from postroom.accounts.grant import given
from postroom.accounts.model import Scope
from postroom.http.asked import NUMBER, Body, Text
from postroom.providers.imap.settings import from_url

DAILY_BYTES = "To download in a day; null: as its provider has it."
WATCH_FOLDERS = (
    "A pattern of folders that are watched beside the inbox, each over a connection of its own where the "
    "server tells of one folder only, and as far as there are connections for that; null: none."
)

DailyBytes = Annotated[int, Field(ge=1 << 20, lt=1 << 50), NUMBER]
Minutes = Annotated[float, Field(ge=1, le=60 * 24 * 7, description="Between polls.")]
Address = Annotated[str, Field(min_length=1, max_length=254)]


class OauthIn(Body):
    """A grant: what a token server gave for somebody's consent."""

    refresh_token: SecretStr = Field(min_length=1, max_length=16384)
    scope: Text | None = None
    client: Text | None = Field(
        None, description="The name of a client of this installation; else the four below."
    )
    token_url: Text | None = None
    client_id: Text | None = None
    client_secret: SecretStr | None = Field(None, min_length=1, max_length=16384)
    client_auth: Literal["post", "basic"] | None = Field(None, description="`post` by default.")
    revocation_url: Text | None = Field(
        None, description="Where it is revoked when the account is removed (RFC 7009)."
    )
    access_token: SecretStr | None = Field(None, min_length=1, max_length=16384)
    expires_in: Annotated[int, Field(ge=1, lt=1 << 31), NUMBER] | None = Field(
        None, description="Seconds, of the access token."
    )

    def revealed(self) -> dict[str, Any]:
        values = self.model_dump(exclude_none=True)
        return {k: v.get_secret_value() if isinstance(v, SecretStr) else v for k, v in values.items()}


class CopyIn(Body):
    """What of a mailbox is copied, and how."""

    folders: Text | None = Field(None, description="A pattern such as `INBOX*`; everything by default.")
    since: date | None = Field(None, description="Older mail stays on the server.")
    largest: Annotated[int, Field(ge=1, lt=1 << 62), NUMBER] | None = Field(
        None, description="Bytes; larger messages stay there."
    )
    poll_every_minutes: Minutes | None = None
    daily_bytes: DailyBytes | None = Field(None, description=DAILY_BYTES)
    watch_folders: Text | None = Field(None, description=WATCH_FOLDERS)
    compress: Literal["auto", "always", "never"] = Field(
        "auto", description="Whether to compress what comes from the server: auto does on a slow link."
    )
    connections: Annotated[int, Field(ge=1, le=100), NUMBER] | None = Field(
        None, description="To its server at a time; null: as its provider allows."
    )

    def wish(self, address: str, **more: Any) -> Wish:
        return Wish(
            address=address,
            scope=Scope(self.folders, self.since, self.largest),
            poll_every=every(self.poll_every_minutes),
            compress=self.compress,
            connections=self.connections,
            daily_bytes=self.daily_bytes,
            watch_folders=self.watch_folders,
            **more,
        )


class ConnectIn(CopyIn):
    address: Address
    password: SecretStr | None = Field(None, min_length=1, max_length=1000)
    oauth: OauthIn | None = Field(None, description="Instead of a password.")
    server: Text | None = Field(
        None, description="`imaps://HOST:PORT` or `imap://HOST:PORT`; else it is found."
    )
    starttls: Literal["require", "auto", "off"] = Field("require", description="For `imap://`.")
    username: Text | None = Field(None, description="Where it is not the address.")

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.password is None) == (self.oauth is None):
            raise ValueError("give either a password or oauth")
        return self

    def asked(self) -> Wish:
        """Raises `BadServer`, `BadGrant`."""
        settings = from_url(self.server, starttls=self.starttls) if self.server else None
        return self.wish(
            self.address, settings=settings, username=self.username, **login_of(self.password, self.oauth)
        )


class ChangeIn(Body):
    paused: bool | None = Field(None, description="True pauses, false resumes.")
    poll_every_minutes: Minutes | None = Field(None, description="Null: the installation's default.")
    daily_bytes: DailyBytes | None = Field(None, description=DAILY_BYTES)
    watch_folders: Text | None = Field(None, description=WATCH_FOLDERS)
    password: SecretStr | None = Field(None, min_length=1, max_length=1000)
    oauth: OauthIn | None = Field(None, description="Instead of a password, or of another grant.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.password is not None and self.oauth is not None:
            raise ValueError("give either a password or oauth")
        return self


class ConsentIn(CopyIn):
    """Somebody is to consent, in a browser, that a mailbox is connected."""

    client: Text = Field(description="The name of a client of this installation.")
    address: Address | None = Field(None, description="Of the mailbox; else that of whoever signs in.")
    account: UUID | None = Field(None, description="One that is connected and is to get another grant.")
    return_to: Text | None = Field(
        None, description="Where the browser is sent in the end: one of `POSTROOM_OAUTH_RETURN_URLS`."
    )
    state: Text | None = Field(
        None,
        description="What `return_to` gets back: by it you know that the browser which comes is that of "
        "whom you sent. Required with `return_to`.",
    )

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.return_to is not None and self.state is None:
            raise ValueError(
                "give a state of your own with return_to, and compare it when somebody comes back"
            )
        if self.account is not None and self.model_fields_set - {"client", "account", "return_to", "state"}:
            raise ValueError("an account that is there keeps its address, and what is copied of it and how")
        return self


def every(minutes: float | None) -> timedelta | None:
    return None if minutes is None else timedelta(minutes=minutes)


def login_of(password: SecretStr | None, oauth: OauthIn | None) -> dict[str, Any]:
    """What one logs in with, as fields of a `Wish`. Raises `BadGrant`."""
    grant, granted = given(oauth.revealed()) if oauth else (None, None)
    return {
        "secret": password.get_secret_value() if password else "",
        "grant": grant,
        "granted": granted,
    }
