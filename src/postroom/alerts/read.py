"""Read the log for alerts, with a cursor of its own for each tenant.

    behind? ─> lock the cursor ─ read on ─ open and close alerts ─ have that said ─ move the cursor ─> commit

All of that is one transaction: whoever dies in it has done nothing, and nobody does it twice.
"""

from collections.abc import Collection

from postroom.db.pool import Connection, Database
from postroom.events import store as events
from postroom.ids import TenantId

from . import store
from .model import Begins, Channel
from .rules import AWAY, WANTED, changes

PAGE = 1000


async def look(db: Database, channels: Collection[Channel]) -> None:
    """Bring all tenants' alerts up to date. `channels`: where the operator wants to hear of what changes.

    What other processes' settings name counts as well: they may be older, or newer, than ours.
    """
    async with db.unbound() as conn:
        wanted = await store.want(conn, channels, AWAY)
        tenants = await store.behind(conn)
    for tenant in tenants:
        is_all = False
        while not is_all:
            async with db.transaction(tenant) as conn:
                is_all = await _read(conn, tenant, wanted)


async def _read(conn: Connection, tenant: TenantId, channels: Collection[Channel]) -> bool:
    """A page; whether there is nothing more at present."""
    after, is_live = await store.place(conn, tenant)
    below, _ = await events.horizon(conn, tenant)
    entries = await store.read(conn, tenant, after, below, WANTED, PAGE)
    begun, over = list[int](), list[int]()
    for entry in entries:
        for change in changes(entry):
            if isinstance(change, Begins):
                begun += await store.begin(conn, tenant, change)
            else:
                over += await store.end(conn, tenant, change)
    is_all = len(entries) < PAGE
    if is_all:
        over += await store.end_jobs(conn, tenant)
    if is_live:
        await store.say(conn, tenant, begun, channels, is_over=False)
        await store.say(conn, tenant, over, channels, is_over=True)
    elif is_all:
        # What was over before anybody looked for the first time is told to nobody.
        await store.say(conn, tenant, await store.go_live(conn, tenant), channels, is_over=False)
    last = (entries[-1].position, entries[-1].stream, entries[-1].seq) if entries else after
    # Behind an entry, of whatever kind: in a database that is restored from a dump new ones come right behind
    # the last, and before any place that the old one's transactions had counted to.
    end = await events.last(conn, tenant, below) if is_all else None
    await store.move(conn, tenant, max(last, end[0]) if end else last)
    return is_all
