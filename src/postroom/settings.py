"""Every setting: its name, default and meaning. Read from `POSTROOM_*` in the environment."""

import os
import re
from base64 import b64decode
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Seconds = Annotated[float, Field(ge=0, le=24 * 60 * 60)]


def default_data() -> Path:
    """Where data lives when nobody says otherwise.

    Root's is a place of the machine: with `sudo`, HOME may be a person's, and would hold files that are not
    that person's.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/postroom/data")
    return Path.home() / ".local" / "share" / "postroom"


class OauthClientSettings(BaseModel, extra="forbid"):
    """A client of this installation at a token server; with `authorization_url` people can consent to it."""

    token_url: str
    client_id: str
    client_secret: SecretStr | None = None
    client_auth: str = "post"
    revocation_url: str | None = None
    authorization_url: str | None = None
    scope: str | None = None
    issuer: str | None = None
    parameters: dict[str, str] = {}
    server: str | None = None
    starttls: Literal["require", "auto", "off"] = "require"
    username: Literal["address", "local_part"] = "address"


ADDRESS = re.compile(r"[\w.+-]{1,64}@[\w.-]{1,250}", re.ASCII)
"""An address that needs no quotes."""

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""How tokens may be signed: with a private key only. One that is shared (HS256) would have to be here."""


def _fetched_safely(url: str) -> str:
    """What goes in the clear is anybody's, keys and browsers too, except on this very machine."""
    parts = urlsplit(url)
    is_here = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"}
    if not parts.hostname or not (parts.scheme == "https" or is_here):
        raise ValueError("write it as https://...")
    return url


SafeUrl = Annotated[str, AfterValidator(_fetched_safely)]


def _whole(url: str) -> str:
    """A browser is sent there with more parameters behind it: a fragment would swallow them."""
    if "#" in url or urlsplit(url).username is not None:
        raise ValueError("write it without a fragment, a user and a password")
    return url


ReturnUrl = Annotated[str, AfterValidator(_fetched_safely), AfterValidator(_whole)]


class IssuerSettings(BaseModel, extra="forbid"):
    """Somebody whose tokens say who a person is."""

    issuer: SafeUrl
    audience: list[str] = []
    authorized_parties: list[str] = []
    algorithms: Annotated[list[Algorithm], Field(min_length=1)] = ["RS256"]
    jwks_url: SafeUrl | None = None
    organization_claim: str | None = None
    role_claim: str | None = None
    roles: dict[str, Literal["admin", "member", "reader"]] = {"admin": "admin", "member": "member"}


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="POSTROOM_", extra="ignore")

    data: Path = Field(default_factory=default_data)
    """The folder of the embedded database, keys and logs."""

    database_url: str | None = None
    """A PostgreSQL (15 or newer) to use instead of the embedded one: postgresql://..."""

    secret_key: SecretStr | None = None
    """What seals credentials at rest. Made at first start and kept beside the data when not given."""

    host: str = "127.0.0.1"
    """The address that the API listens on."""

    port: Annotated[int, Field(ge=0, le=65535)] = 8025
    """The port that the API listens on."""

    email_sync_enabled: bool = True
    """Whether `up` and `executor` poll mailboxes by themselves. What is asked for is always done."""

    email_sync_interval_minutes: Annotated[float, Field(gt=0, le=60 * 24 * 365)] = 15
    """How often a mailbox is polled unless its account says otherwise."""

    workers: Annotated[int, Field(ge=1, le=1000)] = 3
    """How many jobs one process runs at a time."""

    stop_patience_seconds: Seconds = 10
    """How long `postroom executor` lets jobs end when it is stopped; the rest is handed back."""

    sync_parallel: Annotated[int, Field(ge=1, le=1000)] = 4
    """How many accounts `postroom sync` syncs at a time."""

    sync_grace_seconds: Seconds = 60
    """How long a message that has vanished from its folder may turn up in another one and be the same."""

    login_pause_seconds: Seconds = 30
    """How long a mail server is left alone after a conversation with it came to nothing."""

    watch_sweep_seconds: Annotated[float, Field(ge=5, le=24 * 60 * 60)] = 60
    """How often folders are looked at that a mail server does not tell of. Very many: more seldom."""

    watch_silence_seconds: Annotated[float, Field(ge=60, le=9 * 60)] = 120
    """Within how much silence it is noticed that a mail server that tells of changes has gone."""

    account_connections: Annotated[int, Field(ge=1, le=100)] = 3
    """How many connections an account has at a time, in all processes, unless its provider is known."""

    host_connections: Annotated[int, Field(ge=1, le=100_000)] = 100
    """How many connections the syncs of all accounts of one mail server have at a time, in all processes."""

    autoconfig_ispdb: bool = False
    """Whether to look for an address's server in Mozilla's collection, too, which so learns its domain."""

    events_keep_days: Annotated[int, Field(ge=1, le=36500)] | None = None
    """How many days of the log are kept; older entries are removed at a seal. All, when not given."""

    celery_broker_url: str = "redis://127.0.0.1:6379/0"
    """Where Celery's workers, and nobody else, find their Redis."""

    oauth_clients: dict[str, OauthClientSettings] = {}
    """Clients at token servers that grants may name instead of having their own."""

    oauth_return_urls: list[ReturnUrl] = []
    """Where applications may have a browser sent after a consent, letter by letter."""

    rate_limit_per_minute: Annotated[int, Field(ge=0, le=10_000_000)] = 6000
    """How many requests of one key or person a process answers in a minute, and at once; 0 is no limit."""

    request_seconds: Annotated[float, Field(gt=0, le=60 * 60)] = 30
    """How long a request may take until its answer begins; three times as long where it changes something."""

    cors_origins: list[str] = []
    """Origins whose pages may call the API from a browser."""

    issuers: list[IssuerSettings] = []
    """Who may say who a person is: Clerk, or any OpenID Connect provider."""

    public_url: str | None = None
    """Where people find the API, as their browsers see it: https://mail.example.org, or a path there."""

    alerts_url: str | None = None
    """Where the operator is told of alerts, by a POST of JSON."""

    alerts_secret: SecretStr | None = None
    """What these are signed with, as Standard Webhooks has it: `whsec_` and base64."""

    alerts_mail: str | None = None
    """The address that is told of alerts by mail, through `alerts_smtp`."""

    alerts_smtp: Annotated[SecretStr | None, Field(validate_default=True)] = None
    """The server for these: smtp://user:password@host:587, which must offer STARTTLS, or smtps://."""

    alerts_from: str | None = None
    """Who these are from; `alerts_mail` itself where nobody says."""

    private_networks: bool | None = None
    """Whether accounts may be on servers in private networks; while there are no issuers, unless said."""

    @field_validator("public_url")
    @classmethod
    def _of_browsers(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        is_more = "@" in parts.netloc or parts.query or parts.fragment
        if parts.scheme not in {"http", "https"} or not parts.hostname or is_more:
            raise ValueError("write it as https://host or http://host:port, with a path if there is one")
        return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"

    @field_validator("alerts_url")
    @classmethod
    def _of_a_receiver(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
            raise ValueError("write it as https://host/path, without a user and a password")
        return url

    @field_validator("alerts_mail", "alerts_from")
    @classmethod
    def _an_address(cls, address: str | None) -> str | None:
        if address is not None and not ADDRESS.fullmatch(address):
            raise ValueError("write it as name@example.org")
        return address

    @field_validator("alerts_smtp")
    @classmethod
    def _of_a_mail_server(cls, url: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if (url is None) != (info.data.get("alerts_mail") is None):
            raise ValueError("POSTROOM_ALERTS_MAIL needs it, and it needs that")
        parts = urlsplit(url.get_secret_value()) if url else None
        if parts and (parts.scheme not in {"smtp", "smtps", "smtp+plain"} or not parts.hostname):
            raise ValueError("write it as smtp://user:password@host:587 or smtps://user:password@host:465")
        if parts and parts.scheme == "smtp+plain" and parts.username is not None:
            raise ValueError("a password goes over TLS only")
        return url

    @field_validator("alerts_secret")
    @classmethod
    def _in_base64(cls, secret: SecretStr | None) -> SecretStr | None:
        given = secret.get_secret_value().removeprefix("whsec_") if secret else None
        try:
            key = b64decode(given, validate=True) if given is not None else None
        except ValueError:
            key = b""
        if key is not None and len(key) < 16:
            raise ValueError("write it as whsec_ and at least 16 bytes in base64")
        return secret

    @field_validator("issuers")
    @classmethod
    def _each_once(cls, issuers: list[IssuerSettings]) -> list[IssuerSettings]:
        if len({each.issuer for each in issuers}) < len(issuers):
            raise ValueError("an issuer is named twice")
        return issuers

    @property
    def is_behind_tls(self) -> bool:
        return self.public_url is not None and self.public_url.startswith("https://")

    @property
    def private_allowed(self) -> bool:
        """Where strangers can sign in, the hosts that they name must be public."""
        return not self.issuers if self.private_networks is None else self.private_networks

    @property
    def sync_interval(self) -> timedelta:
        return timedelta(minutes=self.email_sync_interval_minutes)

    @property
    def stop_patience(self) -> timedelta:
        return timedelta(seconds=self.stop_patience_seconds)

    @property
    def sync_grace(self) -> timedelta:
        return timedelta(seconds=self.sync_grace_seconds)

    @property
    def watch_sweep(self) -> timedelta:
        return timedelta(seconds=self.watch_sweep_seconds)

    @property
    def watch_silence(self) -> timedelta:
        return timedelta(seconds=self.watch_silence_seconds)

    @property
    def events_keep(self) -> timedelta | None:
        return timedelta(days=self.events_keep_days) if self.events_keep_days else None

    @property
    def login_pause(self) -> timedelta:
        return timedelta(seconds=self.login_pause_seconds)
