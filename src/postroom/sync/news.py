"""What a sync tells the log. Pure.

Payloads hold public ids and facts, never content. `backfill` marks mail that was there before the account
was connected: nobody needs to be told of it.
"""

from collections.abc import Iterable, Mapping
from uuid import UUID

from postroom.events.model import Event
from postroom.mail.model import Added, Displaced, Folder, Purged


def of_added(added: Iterable[Added], folder: Folder, *, backfill: bool) -> list[Event]:
    """`mail.added` for a new message; `mail.moved` for one that we had and that lies here now, too."""
    return [
        Event(
            "mail.added" if mail.is_new else "mail.moved",
            {
                "message": str(mail.public_id),
                "folder": str(folder.public_id),
                "uid": mail.incoming.uid,
                "flags": sorted(mail.incoming.flags),
                **({"backfill": True} if backfill and mail.is_new else {}),
            },
        )
        for mail in added
    ]


def of_flags(
    messages: Mapping[int, UUID], flags: Mapping[int, frozenset[str]], folder: Folder
) -> list[Event]:
    return [
        Event(
            "mail.flags_changed",
            {
                "message": str(message),
                "folder": str(folder.public_id),
                "uid": uid,
                "flags": sorted(flags[uid]),
            },
        )
        for uid, message in messages.items()
    ]


def of_displaced(displaced: Iterable[Displaced], folder: Folder) -> list[Event]:
    return [
        Event(
            "mail.left",
            {"message": str(mail.public_id), "folder": str(folder.public_id), "uid": mail.uid},
        )
        for mail in displaced
    ]


def of_purged(purged: Iterable[Purged]) -> list[Event]:
    return [Event("mail.removed", {"message": str(mail.public_id)}) for mail in purged]


def of_folder(kind: str, folder: Folder) -> Event:
    return Event(f"mail.folder_{kind}", {"folder": str(folder.public_id)})
