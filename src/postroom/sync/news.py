"""What a sync tells the log. Pure.

Payloads hold public ids and facts, never content; a replay of all of an account's stream gives which message
lies in which folder under which flags. The server's numbers are no part of that. `backfill` marks mail that
was there before the account was connected: nobody needs to be told of it.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, assert_never
from uuid import UUID

from postroom.events.model import Event
from postroom.mail.model import Came, Displaced, Folder, Placed, Purged

from .model import Released


def of_placed(placed: Iterable[Placed], folder: Folder, backfill: Collection[int] = ()) -> list[Event]:
    """What has happened to messages that lie in this folder now, if anything has.

    Of some, by uid, nobody needs to be told.
    """
    told = (_of_placed(one, folder, backfill=one.uid in backfill) for one in placed)
    return [event for event in told if event is not None]


def _of_placed(one: Placed, folder: Folder, *, backfill: bool) -> Event | None:
    data: dict[str, Any] = {
        "message": str(one.public_id),
        "folder": str(folder.public_id),
        "flags": sorted(one.flags),
    }
    match one.came:
        case Came.ADDED:
            return Event("mail.added", data | {"backfill": True} if backfill else data)
        case Came.COPIED:
            return Event("mail.copied", data)
        case Came.MOVED:
            assert one.before is not None
            return Event("mail.moved", data | {"from": str(one.before.folder)})
        case Came.STAYED:
            assert one.before is not None
            return Event("mail.flags_changed", data) if one.before.flags != one.flags else None
        case _:
            assert_never(one.came)


def of_flags(
    messages: Mapping[int, UUID], flags: Mapping[int, frozenset[str]], folder: Folder
) -> list[Event]:
    return [
        Event(
            "mail.flags_changed",
            {"message": str(message), "folder": str(folder.public_id), "flags": sorted(flags[uid])},
        )
        for uid, message in messages.items()
    ]


def of_displaced(displaced: Iterable[Displaced], folder: Folder) -> list[Event]:
    """Nothing yet of those that lie nowhere: they may have moved to where nobody has looked."""
    return [
        Event("mail.left", {"message": str(mail.public_id), "folder": str(folder.public_id)})
        for mail in displaced
        if not mail.is_unplaced
    ]


def of_purged(purged: Iterable[Purged]) -> list[Event]:
    return [Event("mail.removed", {"message": str(mail.public_id)}) for mail in purged]


def of_folder(kind: str, folder: Folder) -> Event:
    return Event(f"mail.folder_{kind}", {"folder": str(folder.public_id)})


def of_parked(folder: Folder, uid: int, code: str) -> Event:
    return Event("sync.parked", {"folder": str(folder.public_id), "uid": uid, "code": code})


def of_released(released: Iterable[Released], folder: Folder) -> list[Event]:
    """For what had been told to be parked; nobody heard of what was merely suspected."""
    return [
        Event("sync.released", {"folder": str(folder.public_id), "uid": mail.uid})
        for mail in released
        if mail.was_parked
    ]


def of_folder_parked(folder: Folder, code: str) -> Event:
    return Event("sync.folder_parked", {"folder": str(folder.public_id), "code": code})


def of_folder_released(folder: Folder) -> Event:
    return Event("sync.folder_released", {"folder": str(folder.public_id)})


def of_reread(messages: Iterable[UUID]) -> list[Event]:
    return [Event("mail.reread", {"message": str(message)}) for message in messages]
