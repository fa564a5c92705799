"""How to reach an IMAP server, as an account's settings hold it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from postroom.errors import Invalid
from postroom.providers.imap.compression import Compress
from postroom.providers.model import Login


class Security(StrEnum):
    TLS = "tls"  # from the first byte
    STARTTLS = "starttls"  # upgrade, or no login
    AUTO = "auto"  # upgrade if the server offers it; for a trusted network only
    PLAIN = "plain"


class Auth(StrEnum):
    """What a login's secret is."""

    PASSWORD = "password"
    OAUTH2 = "oauth2"  # an access token


class BadServer(Invalid):
    code = "providers.bad_server"


PORTS = {"imaps": 993, "imap": 143}
STARTTLS = {"require": Security.STARTTLS, "auto": Security.AUTO, "off": Security.PLAIN}


@dataclass(frozen=True, slots=True)
class ImapSettings:
    host: str
    port: int
    security: Security
    username: str
    ca_file: Path | None = None
    mechanism: str | None = None  # such as PLAIN, LOGIN, XOAUTH2; None: what the server offers
    auth: Auth = Auth.PASSWORD
    compress: Compress = Compress.AUTO

    @classmethod
    def of(cls, login: Login) -> "ImapSettings":
        """From an account's settings; the user name is the address unless they say otherwise."""
        given = login.settings
        return cls(
            host=str(given["host"]),
            port=int(given["port"]),
            security=Security(given["security"]),
            username=str(given.get("username") or login.address),
            ca_file=Path(given["ca_file"]) if given.get("ca_file") else None,
            mechanism=given.get("mechanism"),
            auth=Auth(given.get("auth") or Auth.PASSWORD),
            compress=Compress(given.get("compress") or Compress.AUTO),
        )


def from_url(server: str, *, starttls: str = "require") -> Mapping[str, Any]:
    """Settings from `imaps://HOST[:PORT]` or `imap://HOST[:PORT]` with `starttls` require, auto or off.

    Raises `BadServer`.
    """
    try:
        parts = urlsplit(server if "://" in server else f"imaps://{server}")
        host, usual = parts.hostname, PORTS[parts.scheme]
        port = usual if parts.port is None else parts.port
    except (ValueError, KeyError) as error:
        raise BadServer(f"{server} is not a server; write imaps://HOST:PORT or imap://HOST:PORT.") from error
    if (
        not host
        or not port
        or parts.username
        or parts.path.strip("/")
        or parts.query
        or starttls not in STARTTLS
    ):
        raise BadServer("Write the server as imaps://HOST:PORT or imap://HOST:PORT, without user or path.")
    security = Security.TLS if parts.scheme == "imaps" else STARTTLS[starttls]
    return {"host": host, "port": port, "security": str(security)}


def to_url(settings: Mapping[str, Any]) -> str:
    """Where an account's mail is, as `from_url` reads it."""
    scheme = "imaps" if settings["security"] == Security.TLS else "imap"
    host = f"[{settings['host']}]" if ":" in settings["host"] else settings["host"]
    return f"{scheme}://{host}:{settings['port']}"
