"""The processes that read mail, killed while they read."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest
from servers.tenants import ONE
from sync.lab import assert_equal, connected, retry_parked, sync
from sync.mailboxes import copied, means
from sync.test_arena import INBOX

from postroom.db.pool import Database
from postroom.ids import TenantId
from postroom.lab.server import serve
from postroom.mail.model import Folder
from postroom.providers.model import RemoteItem, RemoteMessage
from postroom.sync import folder, workshop
from postroom.sync.arena import SLOTS
from postroom.sync.perform import perform
from postroom.sync.prepare import Batch, Prepared, prepare
from postroom.sync.reread import Tally, reread
from postroom.sync.workshop import Workshop

pytestmark = pytest.mark.usefixtures("tenants")

FATAL = b"Subject: fatal\r\n\r\nNobody survives reading this.\r\n"
EVERY = timedelta(minutes=15)


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    """One that uses its process from the first message on."""
    monkeypatch.setattr(folder, "MANY", -1)
    made = Workshop(get_context("fork"))
    made._ready()
    assert made._started is not None
    made._started.result()
    yield made
    made.close()


def dies_once(marker: Path, tenant: TenantId, place: Folder, batch: Batch) -> list[Prepared]:
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return prepare(tenant, place, batch)


def dies_of_one(tenant: TenantId, place: Folder, batch: Batch) -> list[Prepared]:
    if any(message.content == FATAL for message, _ in batch):
        os.kill(os.getpid(), signal.SIGKILL)
    return prepare(tenant, place, batch)


def waits(gate: Path, tenant: TenantId, place: Folder, batch: Batch) -> list[Prepared]:
    if gate.exists():
        gate.read_bytes()
    return prepare(tenant, place, batch)


async def test_a_process_that_is_killed_costs_no_message(
    db: Database, shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workshop, "prepare", partial(dies_once, tmp_path / "died"))
    async with serve(messages=60, folder_count=3) as server:
        account = await connected(db, server)

        outcome = await perform(replace(means(db), workshop=shop), account, every=EVERY)

        assert (outcome.status, outcome.counts.added, outcome.counts.parked) == ("success", 60, 0)
        assert (tmp_path / "died").exists()
        await assert_equal(db, account, server)


async def test_a_message_that_kills_its_reader_waits_and_all_others_are_stored(
    db: Database, shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workshop, "prepare", dies_of_one)
    async with serve(messages=20, folder_count=1) as server:
        server.mailbox.deliver(FATAL)
        account = await connected(db, server)

        outcome = await perform(replace(means(db), workshop=shop), account, every=EVERY)

        assert (outcome.status, outcome.counts.added, outcome.counts.parked) == ("success", 20, 1)
        assert len(await copied(db, account)) == 20
        monkeypatch.undo()
        await retry_parked(db)
        await sync(db, account)
        await assert_equal(db, account, server)


async def test_a_message_that_killed_its_reader_is_read_from_its_bytes_when_it_no_more_does(
    db: Database, shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(messages=0, folder_count=1) as server:
        server.mailbox.deliver(FATAL)
        account = await connected(db, server)
        with monkeypatch.context() as patch:
            patch.setattr(workshop, "prepare", dies_of_one)
            await perform(replace(means(db), workshop=shop), account, every=EVERY)
            still, then = Tally(), Tally()
            await reread(db, account, shop, still)
        await reread(db, account, shop, then)

        assert (still.released, still.counts.parked, then.released) == (0, 1, 1)
        await assert_equal(db, account, server)


async def test_a_slot_is_not_lent_again_while_its_process_may_write_to_it(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    monkeypatch.setattr(workshop, "prepare", partial(waits, gate))
    batch = [(RemoteMessage(1, b"x", 1), RemoteItem(1, frozenset()))]

    work = shop.prepare(ONE, INBOX, batch, many=True)
    with gate.open("w"):  # it is reading now
        gate.unlink()
        work.close()
        lent = [shop.prepare(ONE, INBOX, batch, many=True) for _ in range(SLOTS - 1)]
        full = shop._arena.borrow(batch)
    for other in lent:
        other.close()
    assert shop._processes is not None
    await asyncio.to_thread(shop._processes.shutdown)

    assert full is None
    assert all(shop._arena.borrow(batch) for _ in range(SLOTS))


async def test_a_batch_waits_for_its_slot_and_is_read_by_the_process(shop: Workshop) -> None:
    batch = [(RemoteMessage(1, b"Subject: late\r\n\r\n", 17), RemoteItem(1, frozenset()))]
    lent = [shop._arena.borrow(batch) for _ in range(SLOTS)]

    work, unwanted = (shop.prepare(ONE, INBOX, batch, many=True) for _ in range(2))
    reading = asyncio.ensure_future(work.done())
    done, _ = await asyncio.wait([reading], timeout=0.05)
    unwanted.close()
    for slot in lent:
        assert slot is not None
        shop._arena.give_back(slot)
    prepared = await reading
    work.close()

    assert not done
    assert prepared[0].incoming.kept.subject == "late"
    assert all(shop._arena.borrow(batch) for _ in range(SLOTS))


async def test_slots_go_to_batches_in_the_order_in_which_they_came(shop: Workshop) -> None:
    def one(subject: str) -> list[tuple[RemoteMessage, RemoteItem]]:
        raw = f"Subject: {subject}\r\n\r\n".encode()
        return [(RemoteMessage(1, raw, len(raw)), RemoteItem(1, frozenset()))]

    lent = [shop._arena.borrow(one("lent")) for _ in range(SLOTS)]
    order: list[str] = []

    async def read(subject: str) -> None:
        work = shop.prepare(ONE, INBOX, one(subject), many=True)
        (prepared,) = await work.done()
        order.append(str(prepared.incoming.kept.subject))
        work.close()

    waiting = [asyncio.ensure_future(read(f"{number}")) for number in range(20)]
    await asyncio.sleep(0)
    assert lent[0] is not None
    shop._arena.give_back(lent[0])
    await asyncio.sleep(0)
    late = asyncio.ensure_future(read("late"))
    await asyncio.gather(*waiting, late)

    assert order == [*map(str, range(20)), "late"]


def test_a_process_whose_parent_is_gone_ends_at_once() -> None:
    code = "from postroom.sync.workshop import _follow_parent; _follow_parent(0); print('alive')"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (1, "")


def test_a_workshop_that_never_starts_a_process_opens_nothing() -> None:
    before = os.listdir("/proc/self/fd")

    shops = [Workshop() for _ in range(10)]

    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert len(shops) == 10
