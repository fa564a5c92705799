"""How the operator wants to be told, as the settings say."""

from collections.abc import Sequence

from postroom.net.client import Client
from postroom.net.egress import Egress
from postroom.settings import Settings

from .tell import ByUrl, Telling


def ways(settings: Settings) -> Sequence[Telling]:
    """None where nobody wants to be told. The operator's own servers may be in a private network."""
    found: list[Telling] = []
    if settings.alerts_url is not None:
        secret = settings.alerts_secret
        client = Client(Egress(private_allowed=True))
        found.append(ByUrl(settings.alerts_url, client, secret.get_secret_value() if secret else None))
    return found
