"""How the operator wants to be told, as the settings say."""

from collections.abc import Mapping, Sequence
from urllib.parse import unquote, urlsplit

from postroom.net.client import Client
from postroom.net.egress import Egress
from postroom.net.smtp import Security, Server
from postroom.settings import Settings

from .mail import ByMail
from .tell import ByUrl, Telling

SECURITY: Mapping[str, tuple[Security, int]] = {
    "smtp": (Security.STARTTLS, 587),
    "smtps": (Security.TLS, 465),
    "smtp+plain": (Security.PLAIN, 25),
}


def ways(settings: Settings) -> Sequence[Telling]:
    """None where nobody wants to be told. The operator's own servers may be in a private network."""
    found: list[Telling] = []
    own = Egress(private_allowed=True)
    if settings.alerts_url is not None:
        secret = settings.alerts_secret
        client = Client(own)
        found.append(ByUrl(settings.alerts_url, client, secret.get_secret_value() if secret else None))
    if settings.alerts_mail is not None and settings.alerts_smtp is not None:
        server = _server(settings.alerts_smtp.get_secret_value())
        sender = settings.alerts_from or settings.alerts_mail
        found.append(ByMail(settings.alerts_mail, sender, server, own))
    return found


def _server(url: str) -> Server:
    """Of a URL that the settings have checked."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    security, port = SECURITY[parts.scheme]
    user = unquote(parts.username) if parts.username is not None else None
    password = unquote(parts.password) if parts.password is not None else None
    return Server(parts.hostname, parts.port or port, security, user, password)
