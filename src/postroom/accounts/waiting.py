"""What is remembered of somebody who was sent to a provider, until they come back. Pure."""

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import orjson

from postroom.accounts.connect import Wish
from postroom.accounts.model import Scope
from postroom.http.caller import Caller
from postroom.vault.model import Secret

PLAIN = ("address", "compress", "connections", "daily_bytes", "watch_folders")
"""Fields of a wish that are in JSON what they are here."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who sent them there, by public ids: a key, or a person, with their session if it is one of ours."""

    key: UUID | None
    person: UUID | None = None
    session: UUID | None = None

    @staticmethod
    def of(caller: Caller) -> "Asker":
        if caller.person is None:
            return Asker(caller.key_id)
        return Asker(caller.key_id, caller.person.id, caller.person.session)


@dataclass(frozen=True, slots=True)
class Waiting:
    verifier: Secret
    nonce: str = field(repr=False)
    asker: Asker
    wish: Wish  # without any secret
    account: UUID | None = None
    return_to: str | None = None
    state: str | None = None


def waiting_text(waiting: Waiting) -> bytes:
    """For the vault."""
    wish, asker = waiting.wish, waiting.asker
    return orjson.dumps(
        {
            "verifier": waiting.verifier.reveal(),
            "nonce": waiting.nonce,
            "asker": [_text(each) for each in (asker.key, asker.person, asker.session)],
            "wish": {name: getattr(wish, name) for name in PLAIN},
            "scope": [wish.scope.folders, wish.scope.since, wish.scope.largest],
            "poll_every": wish.poll_every.total_seconds() if wish.poll_every else None,
            "account": _text(waiting.account),
            "return_to": waiting.return_to,
            "state": waiting.state,
        }
    )


def waiting_of(text: bytes) -> Waiting:
    """What `waiting_text` wrote."""
    said = orjson.loads(text)
    folders, since, largest = said["scope"]
    seconds = said["poll_every"]
    wish = Wish(
        scope=Scope(folders, date.fromisoformat(since) if since else None, largest),
        poll_every=timedelta(seconds=seconds) if seconds else None,
        **said["wish"],
    )
    return Waiting(
        Secret(said["verifier"]),
        said["nonce"],
        Asker(*map(_uuid, said["asker"])),
        wish,
        _uuid(said["account"]),
        said["return_to"],
        said["state"],
    )


def _text(id: UUID | None) -> str | None:
    return str(id) if id is not None else None


def _uuid(text: Any) -> UUID | None:
    return UUID(text) if text is not None else None
