"""Every kind of event: what it says, the version of its payload, its fields. Pure.

A payload gets a new version when a field changes its meaning or goes; a field that comes is optional. The
table is also the reference page (`docs/reference/events.md`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import chain
from typing import Any

from .model import Event


class Type(Enum):
    """What a field holds."""

    ID = "id"
    FLAGS = "flags"
    CODE = "code"
    NUMBER = "number"
    TRUE = "true"


@dataclass(frozen=True, slots=True)
class Kind:
    """`fields` must be there, `optional` ones may; nothing else."""

    says: str
    fields: Mapping[str, Type]
    optional: Mapping[str, Type] = field(default_factory=dict)
    version: int = 1


MESSAGE = {"message": Type.ID}
FOLDER = {"folder": Type.ID}
PLACE = {**MESSAGE, **FOLDER}
PLACED = {**PLACE, "flags": Type.FLAGS}
ACCOUNT = {"account": Type.ID}
TENANT = {"tenant": Type.ID}
MAIL = {**FOLDER, "uid": Type.NUMBER}

KINDS: Mapping[str, Kind] = {
    "mail.folder_added": Kind("The server has a folder that it had not.", FOLDER),
    "mail.folder_renamed": Kind("A folder has another name or place; it holds what it held.", FOLDER),
    "mail.folder_renumbered": Kind(
        "The server numbers a folder's messages anew (UIDVALIDITY); they keep ids and places.", FOLDER
    ),
    "mail.folder_removed": Kind("A folder is gone. Its messages have events of their own.", FOLDER),
    "mail.added": Kind(
        "A message that was nowhere lies in a folder; with `backfill` it was there before the account was "
        "connected.",
        PLACED,
        {"backfill": Type.TRUE},
    ),
    "mail.copied": Kind("A message lies in one more folder.", PLACED),
    "mail.moved": Kind(
        "A message left one folder for another.",
        {**MESSAGE, "from": Type.ID, **FOLDER, "flags": Type.FLAGS},
    ),
    "mail.left": Kind("A message left a folder; it lies elsewhere still.", PLACE),
    "mail.flags_changed": Kind("A message in a folder has these flags now.", PLACED),
    "mail.removed": Kind("A message lies nowhere on the server any more.", MESSAGE),
    "mail.reread": Kind(
        "A message was read anew by a better parser, and what is stored of it changed.", MESSAGE
    ),
    "accounts.connected": Kind("A mailbox was connected.", ACCOUNT),
    "accounts.changed": Kind("An account's settings or credentials changed.", ACCOUNT),
    "accounts.paused": Kind("An account is not synced until it is resumed.", ACCOUNT),
    "accounts.resumed": Kind("An account is synced again.", ACCOUNT),
    "accounts.reauth_required": Kind(
        "The server refuses an account; its owner must act.", {**ACCOUNT, "code": Type.CODE}
    ),
    "accounts.stale": Kind(
        "An account should have been brought up to date an hour ago, or three of its intervals, and was not.",
        ACCOUNT,
    ),
    "accounts.recovered": Kind("An account that needed its owner, or was stale, is in order again.", ACCOUNT),
    "accounts.removed": Kind("An account and its copy were deleted. Stands in the tenant's stream.", ACCOUNT),
    "events.seal_refused": Kind(
        "The log is not the one that was sealed, or somebody has put a seal there: it is sealed no more, and "
        "nothing is removed from it. Stands in the tenant's stream.",
        TENANT,
    ),
    "events.seal_resumed": Kind("The log is sealed again. Stands in the tenant's stream.", TENANT),
    "jobs.failed": Kind(
        "A job failed for good: it waits for somebody to look at it. Stands in the tenant's stream.",
        {"job": Type.ID, "kind": Type.CODE, "code": Type.CODE},
    ),
    "sync.parked": Kind("A message is set aside, because it keeps failing.", {**MAIL, "code": Type.CODE}),
    "sync.released": Kind("A message that was set aside is so no more.", MAIL),
    "sync.folder_parked": Kind(
        "A folder is set aside, because it keeps failing.", {**FOLDER, "code": Type.CODE}
    ),
    "sync.folder_released": Kind("A folder that was set aside is so no more.", FOLDER),
    "sync.watch_lapsed": Kind(
        "A server that told of an account's changes has not done so for ten minutes, though the account is "
        "well: it is only polled.",
        ACCOUNT,
    ),
    "sync.watch_resumed": Kind("Such a server tells of an account's changes again.", ACCOUNT),
    "sync.completed_first": Kind("The first complete copy of an account stands.", ACCOUNT),
    "sync.repaired": Kind(
        "A comparison with the server found differences and mended them: so many messages that were missing, "
        "that were there without being on the server, whose flags differed.",
        {**ACCOUNT, "missing": Type.NUMBER, "extra": Type.NUMBER, "flags": Type.NUMBER},
    ),
    "library.handler_stopped": Kind(
        "A handler of an application failed, or ended its process, too often at the event of this number, of "
        "the account or of the tenant, and waits there. Stands in the tenant's stream.",
        {"handler": Type.CODE, "seq": Type.NUMBER},
        ACCOUNT,
    ),
    "webhooks.failing": Kind(
        "A webhook is not delivered, for a minute or more: its receiver does not take it, or the code says "
        "what is in the way. Stands in the tenant's stream.",
        {"webhook": Type.ID, "code": Type.CODE},
    ),
    "webhooks.recovered": Kind(
        "A webhook that failed does so no more. Stands in the tenant's stream.",
        {"webhook": Type.ID},
    ),
    "webhooks.missed": Kind(
        "Events up to this number, of the account or of the tenant, were removed from the log before a "
        "webhook could deliver them. Stands in the tenant's stream.",
        {"webhook": Type.ID, "seq": Type.NUMBER},
        ACCOUNT,
    ),
    "webhooks.disabled": Kind(
        "A webhook that failed was disabled by its owner. Stands in the tenant's stream.",
        {"webhook": Type.ID},
    ),
    "webhooks.removed": Kind(
        "A webhook was deleted by its owner. Stands in the tenant's stream.", {"webhook": Type.ID}
    ),
}


def _is_id(value: Any) -> bool:
    return type(value) is str and len(value) == 36


def _is_flags(value: Any) -> bool:
    return type(value) is list and all(type(flag) is str for flag in value)


def _is_code(value: Any) -> bool:
    return type(value) is str and "." in value


def _is_number(value: Any) -> bool:
    return type(value) is int and value >= 0


FITS: Mapping[Type, Callable[[Any], bool]] = {
    Type.ID: _is_id,
    Type.FLAGS: _is_flags,
    Type.CODE: _is_code,
    Type.NUMBER: _is_number,
    Type.TRUE: lambda value: value is True,
}
# As the hot path wants it: kind -> (version, how many fields there must be, name -> does the value fit)
CHECKS = {
    name: (
        kind.version,
        len(kind.fields),
        {field: FITS[of] for field, of in chain(kind.fields.items(), kind.optional.items())},
        frozenset(kind.optional),
    )
    for name, kind in KINDS.items()
}


def checked(event: Event) -> dict[str, Any]:
    """An event's payload with its version in `v`. Raises `ValueError` unless it is what the table says."""
    try:
        version, count, fields, optional = CHECKS[event.kind]
        for name, value in event.data.items():
            if not fields[name](value):
                raise ValueError(f"{event.kind}: {name} cannot be {value!r}")
            count -= name not in optional
    except KeyError as unknown:
        raise ValueError(f"{event.kind}: {unknown} is not in the table of kinds") from None
    if count:
        raise ValueError(f"{event.kind}: a field is missing")
    return {**event.data, "v": version}
