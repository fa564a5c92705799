"""What lies in a slot comes back as it was, whatever its size."""

import os
from base64 import encodebytes
from datetime import UTC, datetime
from multiprocessing import get_context
from uuid import UUID

import pytest

from postroom.ids import AccountId, FolderId, TenantId
from postroom.lab.mails import mail
from postroom.mail.model import Folder
from postroom.providers.model import RemoteItem, RemoteMessage
from postroom.sync import arena as arenas
from postroom.sync.arena import SLOTS, Arena, Slot
from postroom.sync.prepare import Batch, Prepared, prepare

INBOX = Folder(FolderId(1), UUID(int=1), AccountId(1), b"INBOX", "INBOX", "inbox", selectable=True)
AT = datetime(2024, 5, 17, tzinfo=UTC)


def batch(*contents: bytes) -> Batch:
    return [
        (
            RemoteMessage(uid, content, len(content), frozenset(), AT),
            RemoteItem(uid, frozenset(), len(content)),
        )
        for uid, content in enumerate(contents, 1)
    ]


def same(ours: list[Prepared], theirs: list[Prepared]) -> bool:
    def flat(mails: list[Prepared]) -> list[object]:
        return [
            (
                mail.incoming,
                mail.words,
                mail.packed.digest,
                list(map(bytes, (mail.packed.head, *mail.packed.rest))),
            )
            for mail in mails
        ]

    return flat(ours) == flat(theirs)


@pytest.fixture
def arena() -> Arena:
    return Arena()


@pytest.mark.parametrize(
    "contents",
    [
        [mail(1, number) for number in range(30)],
        [b"", b"x", os.urandom(100), b"", mail(2, 1)],  # what packing makes longer
        [b"\r\n" + encodebytes(os.urandom(7 << 20)), b"Subject: x\r\n\r\n"],  # three chunks
    ],
    ids=["usual", "tiny", "large"],
)
def test_what_was_made_of_messages_comes_back(arena: Arena, contents: list[bytes]) -> None:
    messages = batch(*contents)
    slot = arena.borrow(messages)
    assert slot is not None
    assert list(map(bytes, arena.places(slot))) == contents

    answer = arena.answer(slot, prepare(TenantId(1), INBOX, messages))

    assert isinstance(answer, int)
    assert same(arena.understand(slot, answer), prepare(TenantId(1), INBOX, messages))


def test_an_answer_without_room_travels_by_itself(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    messages = batch(mail(1, 1))
    monkeypatch.setattr(arenas, "ROOM", messages[0][0].size)
    slot = arena.borrow(messages)
    assert slot is not None

    answer = arena.answer(slot, prepare(TenantId(1), INBOX, messages))

    assert isinstance(answer, bytes)
    assert same(arena.understand(slot, answer), prepare(TenantId(1), INBOX, messages))


def test_there_are_so_many_slots_and_no_more(arena: Arena) -> None:
    slots = [arena.borrow(batch(b"x")) for _ in range(SLOTS)]
    numbers = {slot.number for slot in slots if slot is not None}

    assert len(numbers) == SLOTS
    assert arena.borrow(batch(b"x")) is None
    assert slots[3] is not None
    arena.give_back(slots[3])
    again = arena.borrow(batch(b"x"))
    assert again is not None
    assert again.number == slots[3].number


def test_what_is_too_large_gets_no_slot(arena: Arena) -> None:
    assert not arena.takes(batch(bytes(arenas.ROOM), b"x"))
    assert arena.takes(batch(bytes(arenas.ROOM)))


def test_a_process_that_starts_gets_the_same_memory(arena: Arena) -> None:
    process = get_context("spawn").Process(target=Arena.borrow, args=(arena, batch(b"yes")))
    process.start()
    process.join()

    assert process.exitcode == 0
    assert bytes(arena.places(Slot(SLOTS - 1, (3,)))[0]) == b"yes"
