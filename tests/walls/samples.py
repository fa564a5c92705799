"""Arguments for the functions of the stores: a side's own things."""

import io
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from inspect import Parameter, signature
from typing import Any
from uuid import UUID

from servers.copies import START
from walls.sides import HOUR, Side, letter

from postroom.accounts.model import AccountState, Scope
from postroom.accounts.store.together import Success
from postroom.alerts.model import Begins, Channel, Ends
from postroom.blobs.pack import pack, pack_head
from postroom.events import feed
from postroom.events.model import Event, Removed, Seal, stream_of
from postroom.ids import MessageId, new_public_id
from postroom.jobs.model import Progress, Wish
from postroom.jobs.slices import Waiting
from postroom.mail.identity import Arrived, nothing_leaves
from postroom.mail.model import Added, Came, Known, Placed
from postroom.mail.reading import Filters, Order, Sort
from postroom.mail.store.reread import Again
from postroom.providers.model import RemoteFolder, RemoteItem, RemoteMessage
from postroom.providers.spent import Cost
from postroom.search.compile import compile_query
from postroom.search.query import parse
from postroom.search.store import Window
from postroom.sync.model import Cursor, Failure
from postroom.sync.prepare import Prepared, prepare

LATE = datetime(2100, 1, 1, tzinfo=UTC)


def arguments(function: Callable[..., Any], named: str, side: Side) -> dict[str, Any]:
    """All that a function needs beside its connection. Raises KeyError where nobody has said."""
    special = SPECIAL[named](side) if named in SPECIAL else {}
    found = {}
    for name, parameter in list(signature(function).parameters.items())[1:]:
        if name in special:
            found[name] = special[name]
        elif parameter.default is Parameter.empty:
            found[name] = ordinary(named, name, str(parameter.annotation))(side)
    return found


def ordinary(function: str, name: str, annotation: str) -> Callable[[Side], Any]:
    """What stands for an argument of this name, or of this type."""
    room = function.partition(".")[0]
    if name in BY_NAME:
        return BY_NAME[name]
    if (room, name) in BY_ROOM:
        return BY_ROOM[room, name]
    if annotation.startswith("typing.Optional["):
        annotation = annotation.removeprefix("typing.Optional[").removesuffix("]")
    for word, value in BY_TYPE.items():
        if annotation.endswith(word):
            return value
    raise KeyError(f"{function} takes {name}: {annotation}; say in `walls.samples` what that may be")


BY_TYPE: Mapping[str, Callable[[Side], Any]] = {
    "Sequence[postroom.ids.AccountId]": lambda side: [side.account.id],
    "Sequence[postroom.ids.MessageId]": lambda side: [side.placed[0].id],
    "Collection[postroom.ids.MessageId]": lambda side: [side.placed[0].id],
    "Sequence[postroom.jobs.model.JobId]": lambda side: [side.said.id],
    "ids.TenantId": lambda side: side.tenant,
    "ids.AccountId": lambda side: side.account.id,
    "ids.FolderId": lambda side: side.folder.id,
    "ids.MessageId": lambda side: side.placed[0].id,
    "ids.ThreadId": lambda side: side.thread,
    "jobs.model.JobId": lambda side: side.said.id,
    "accounts.model.Account'>": lambda side: side.account,
    "webhooks.model.Webhook'>": lambda side: side.webhook,
    "mail.model.Folder'>": lambda side: side.folder,
    "jobs.model.Job'>": lambda side: side.runs,
    "db.model.Lease'>": lambda side: side.lease,
    "datetime.timedelta'>": lambda _: HOUR,
    "datetime.timedelta | None": lambda _: HOUR,
    "model.Stream": lambda side: stream_of(side.account.id),
    "'int'>": lambda _: 10,
    "'bool'>": lambda _: True,
}
BY_NAME: Mapping[str, Callable[[Side], Any]] = {
    "uids": lambda _: [1, 2, 3],
    "digests": lambda side: [side.digest],
    "digest": lambda side: side.digest,
    "reason": lambda _: "because",
    "wishes": lambda _: [Wish("test.a")],
    "places": lambda side: [(side.folder.id, 1)],
    "remote": lambda _: RemoteFolder(b"new", "new"),
    "rows": lambda side: [prepared(side).words_of(side.placed[0].id)],
    "again": lambda side: [Again(side.placed[0].id, START, prepared(side, 2).incoming.kept)],
    "query": lambda side: compile_query(parse(side.name, LATE), side.tenant),
    "window": lambda _: Window(LATE),
    "cost": lambda _: Cost(bytes=1),
    "cursor": lambda _: Cursor(1, 2, 3, 4),
    "failure": lambda _: Failure(1, "sync.not_storable", "because"),
}
BY_ROOM: Mapping[tuple[str, str], Callable[[Side], Any]] = {
    ("accounts", "public_id"): lambda side: side.account.public_id,
    ("alerts", "after"): lambda _: feed.START,
    ("alerts", "below"): lambda _: feed.EVERYTHING,
    ("alerts", "place"): lambda _: (1, 0, 0),
    ("alerts", "number"): lambda side: side.message,
    ("jobs", "public_id"): lambda side: side.said.public_id,
    ("jobs", "key"): lambda side: side.runs.key,
    ("jobs", "kind"): lambda side: side.runs.kind,
    ("people", "public_id"): lambda side: UUID(side.shown["key"]),
    ("people", "person"): lambda side: side.person,
    ("mail", "public_id"): lambda side: side.placed[0].public_id,
    ("mail", "flags"): lambda _: {1: frozenset({"\\Seen"})},
    ("mail", "incoming"): lambda side: [prepared(side).incoming],
    ("sync", "ids"): lambda side: [UUID(side.shown["parked"])],
    ("sync", "code"): lambda _: "providers.refused",
    ("webhooks", "public_id"): lambda side: side.webhook.public_id,
    ("events", "after"): lambda _: feed.START,
    ("library", "name"): lambda side: f"handler.of.{side.name}",
    ("library", "after"): lambda _: feed.START,
    ("events", "below"): lambda _: feed.EVERYTHING,
    ("events", "streams"): lambda side: [stream_of(side.account.id)],
}
SPECIAL: Mapping[str, Callable[[Side], dict[str, Any]]] = {
    "accounts.store.add": lambda _: {
        **{"public_id": new_public_id(), "address": "new@example.org", "provider": "imap"},
        **{"settings": {}, "secret": None, "scope": Scope()},
    },
    "accounts.store.consents.add": lambda _: {
        **{"state": bytes(32), "browser": None, "client": "ours", "secret": "sealed"}
    },
    "accounts.store.find": lambda side: {"address": side.account.address},
    "accounts.store.set_credentials": lambda _: {"settings": {}, "secret": None},
    "accounts.store.set_state": lambda _: {"state": AccountState.PAUSED},
    "accounts.store.mark_sync_failed": lambda _: {
        "error": {"code": "a.b", "message": "because"},
        "state": AccountState.ERROR,
    },
    "accounts.store.limits.set_daily_bytes": lambda _: {"most": 1 << 30},
    "accounts.store.limits.set_watch_folders": lambda _: {"pattern": "*"},
    "accounts.store.overdue.mark_stale": lambda side: {"account": side.other.id},
    "accounts.store.together.mark_syncs_succeeded": lambda side: {
        "successes": [Success(side.account.id, side.account.credentials_version, HOUR)]
    },
    "accounts.store.tokens.keep": lambda side: {"number": side.token, "secret": "sealed"},
    "accounts.store.tokens.end": lambda side: {"number": side.token},
    "alerts.store.read": lambda _: {"kinds": ["mail.removed"]},
    "alerts.store.begin": lambda side: {
        "change": Begins("accounts.stale", side.account.public_id, None, LATE, stream_of(side.account.id))
    },
    "alerts.store.end": lambda side: {"change": Ends(None, side.runs.public_id, LATE)},
    "alerts.store.say": lambda side: {"alerts": [side.alert], "channels": [Channel.MAIL]},
    "alerts.store.failed": lambda _: {"error": "It answered 500."},
    "blobs.store.keep": lambda _: {"blobs": [pack(b"new")]},
    "blobs.store.keep_file": lambda _: {
        "blob": pack_head(io.BytesIO(b"new")),
        "file": io.BytesIO(b"new"),
    },
    "db.leases.is_held": lambda side: {"name": side.lease.name},
    "events.log.append": lambda side: {
        "events": [Event("mail.folder_added", {"folder": str(side.folder.public_id)})]
    },
    "events.store.removed.below": lambda _: {"above": 0, "horizon": feed.EVERYTHING, "before": LATE},
    "events.store.removed.ends": lambda _: {"above": 0},
    "events.store.removed.put": lambda side: {
        "removed": [Removed(stream_of(side.other.id), 1, 1, bytes(32), START)]
    },
    "events.store.consumers.put": lambda side: consumer(side, "new"),
    "events.store.consumers.begin": lambda side: consumer(side, "new") | {"beginning": feed.BEGINNING},
    "events.store.consumers.move": lambda side: consumer(side, "new") | {"before": feed.BEGINNING},
    "events.store.consumers.find": lambda side: {"name": side.shown["consumer"]},
    "events.store.consumers.remove": lambda side: {"name": side.shown["consumer"]},
    "events.store.hash_at": lambda side: {"place": feed.place_of(side.entries[0])},
    "events.store.rows": lambda _: {"after": None},
    "events.store.not_there": lambda side: {"ends": {side.account.id: (1, side.entries[0].hash)}},
    "events.store.add_seal": lambda _: {"seal": Seal(99, "{}", b"")},
    "jobs.store.cancel": lambda side: {"public_id": side.waits.public_id},
    "jobs.store.lock_key": lambda side: {"public_id": side.runs.public_id},
    "jobs.store.progress": lambda _: {"now": Progress(5)},
    "jobs.store.say": lambda _: {"message": "hello"},
    "jobs.store.forget": lambda _: {"removing": "test.removes"},
    "jobs.store.names.find": lambda side: {"prefix": side.said.public_id.hex},
    "jobs.store.names.short": lambda side: {"ids": [side.said.public_id]},
    "jobs.store.news.events": lambda side: {"after": {side.said.id: 0}},
    "jobs.store.queue.promise": lambda side: {"other": Waiting(side.tenant, side.waits.id, 0)},
    "jobs.store.running.call_off": lambda side: {"kind": f"test.{side.name}"},
    "jobs.store.running.join": lambda side: {
        "wish": Wish("test.runs", key=side.runs.key, dedupe=side.runs.key)
    },
    "jobs.store.running.count": lambda _: {"tally": {"added": 1}},
    "library.store.begin": lambda _: {"name": "new", "place": feed.START},
    "library.store.mark": lambda _: {"begun": 1},
    "library.store.move": lambda _: {"to": (1, 1, 1)},
    "library.store.pass_over": lambda _: {"to": (1, 1, 1)},
    "mail.store.brief.briefs": lambda side: {"messages": [side.placed[0].public_id]},
    "mail.store.brief.paths": lambda side: {"folders": [side.own.public_id]},
    "mail.store.browse.thread": lambda side: {"public_id": UUID(side.shown["thread"])},
    "mail.store.export.entries": lambda _: {"after": -1},
    "mail.store.folders.rename": lambda side: {"renamed": [(side.folder, RemoteFolder(b"new", "new"))]},
    "mail.store.places.known_content": lambda side: {"digests": [prepared(side).incoming.digest]},
    "mail.store.places.known_objects": lambda side: {"objects": [f"object of {side.name}"]},
    "mail.store.places.settle": lambda side: {
        "arrived": [(50, Arrived(known(side).key, frozenset()))],
        "known": [known(side)],
        "leaving": nothing_leaves,
    },
    "mail.store.places.place": lambda side: {
        "placed": [Placed(side.placed[0].id, side.placed[0].public_id, 50, frozenset(), Came.COPIED)]
    },
    "mail.store.places.unnumbered": lambda side: {"folder": side.own.id},
    "mail.store.places.purge": lambda _: {"after": HOUR * 0},
    "mail.store.read.page": lambda _: {"filters": Filters(), "sort": Sort.DATE, "order": Order.ASCENDING},
    "mail.store.read.count": lambda _: {"filters": Filters()},
    "mail.store.read.attachment": lambda _: {"number": 1},
    "mail.store.read.account": lambda side: {"public_id": side.account.public_id},
    "mail.store.read.folders_named": lambda side: {"named": side.own.path},
    "mail.store.reread.outdated": lambda side: {"before": (LATE, side.placed[0].id)},
    "mail.store.rows.insert_messages": lambda side: {
        "new": [Added(prepared(side).incoming, MessageId(1 << 40), new_public_id())],
        "threads": [side.thread],
    },
    "people.store.touch_key": lambda side: {"key": side.key_number},
    "people.store.add_key": lambda side: {
        "accounts": [side.account.public_id],
        **{"name": "new", "start": "pr_new", "digest": bytes(32), "scopes": frozenset(), "expires_at": None},
    },
    "people.store.add_reader": lambda _: {"role": "a new reader"},
    "people.store.new_link": lambda _: {"digest": bytes(32)},
    "people.store.touch_session": lambda side: {"session": side.session_number},
    "people.store.revoke_session": lambda side: {"public_id": side.session},
    "search.store.add": lambda side: {"rows": [prepared(side, 3).words_of(side.placed[2].id)]},
    "search.store.reindex": lambda side: {"rows": [prepared(side, 2).words_of(side.placed[0].id)]},
    "webhooks.store.add": lambda side: {
        **{"public_id": new_public_id(), "url": "http://127.0.0.1/", "description": "", "types": None},
        **{"accounts": [side.account.id], "secret": "sealed"},
    },
    "webhooks.store.begin": lambda side: {"accounts": [side.account.id], "known": []},
    "webhooks.store.rewind": lambda _: {"place": feed.START},
    "webhooks.store.rewind_to": lambda _: {"since": START},
    "webhooks.store.deliveries": lambda _: {"before": None},
    "webhooks.store.lanes.load": lambda side: {"webhook": side.webhook.id},
    "sync.store.is_waiting": lambda _: {"but": "nothing"},
    "sync.store.release": lambda _: {"uids": None},
    "sync.store.glance.busy": lambda side: {"ids": [side.account.id]},
    "sync.store.glance.stored": lambda side: {"ids": [side.account.id]},
    "sync.store.quarantine.waiting": lambda _: {},
    "sync.store.quarantine.mend": lambda side: {"folder": side.own.id},
    "sync.store.reread.kept": lambda _: {"after": 0},
    "sync.store.reread.reach": lambda side: {"place": (START, side.placed[1].id)},
    "sync.store.retell.unplace": lambda side: {
        "lost": [(str(side.placed[0].public_id), str(side.folder.public_id), frozenset({"\\Seen"}))]
    },
}
"""What only one function takes, or takes otherwise than its neighbours."""


def consumer(side: Side, cursor: str) -> dict[str, Any]:
    return {"name": side.shown["consumer"], "cursor": cursor}


def prepared(side: Side, number: int = 1) -> Prepared:
    """One of a side's letters, read once more."""
    raw = letter(side.name, number)
    item = RemoteItem(60, frozenset(), len(raw), START)
    [found] = prepare(side.tenant, side.folder, [(RemoteMessage(60, raw, len(raw)), item)])
    return found


def known(side: Side) -> Known:
    first = side.placed[0]
    return Known(first.id, first.public_id, prepared(side).incoming.digest, 1, {}, None)
