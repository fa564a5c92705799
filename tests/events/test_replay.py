"""What the log amounts to, and what it can never say."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from servers.tenants import ONE

from postroom.events.model import Entry, Stream
from postroom.events.replay import ImpossibleHistory, Replayed, replay

Told = tuple[str, dict[str, Any]]

INBOX: Told = ("mail.folder_added", {"folder": "inbox"})
WORK: Told = ("mail.folder_added", {"folder": "work"})
ADDED: Told = ("mail.added", {"message": "m", "folder": "inbox", "flags": []})
COPIED: Told = ("mail.copied", {"message": "m", "folder": "work", "flags": ["\\Seen"]})
MOVED: Told = ("mail.moved", {"message": "m", "from": "inbox", "folder": "work", "flags": ["\\Seen"]})
LEFT: Told = ("mail.left", {"message": "m", "folder": "inbox"})
REMOVED: Told = ("mail.removed", {"message": "m"})
SEEN: Told = ("mail.flags_changed", {"message": "m", "folder": "inbox", "flags": ["\\Seen"]})
START = [INBOX, WORK, ADDED]


def entries(told: list[Told], first: int = 1) -> list[Entry]:
    return [
        Entry(
            ONE,
            Stream(7),
            seq,
            1,
            datetime(2026, 1, 1, tzinfo=UTC),
            kind,
            orjson.dumps({"v": 1, **data}).decode(),
            b"",
        )
        for seq, (kind, data) in enumerate(told, first)
    ]


@pytest.mark.parametrize(
    ("told", "placements"),
    [
        ([], {"inbox": set()}),
        ([SEEN], {"inbox": {"\\Seen"}}),
        ([COPIED], {"inbox": set(), "work": {"\\Seen"}}),
        ([MOVED], {"work": {"\\Seen"}}),
        ([COPIED, LEFT], {"work": {"\\Seen"}}),
        ([("mail.folder_renamed", {"folder": "inbox"})], {"inbox": set()}),
        ([("mail.folder_renumbered", {"folder": "inbox"})], {"inbox": set()}),
        ([("mail.reread", {"message": "m"})], {"inbox": set()}),
        ([("mail.folder_removed", {"folder": "inbox"}), MOVED], {"work": {"\\Seen"}}),
        (
            [("sync.completed_first", {"account": "a"}), ("accounts.paused", {"account": "a"})],
            {"inbox": set()},
        ),
    ],
)
def test_a_message_lies_where_its_events_put_it(told: list[Told], placements: dict[str, set[str]]) -> None:
    assert replay(entries([*START, *told])).messages == {"m": placements}


def test_a_message_that_was_removed_lies_nowhere() -> None:
    state = replay(entries([*START, COPIED, REMOVED]))

    assert (state.messages, state.folders) == ({}, {"inbox", "work"})


def test_a_replay_goes_on_from_where_it_stood() -> None:
    state = replay(entries(START))

    assert replay(entries([MOVED], first=4), state) == replay(entries([*START, MOVED]))


@pytest.mark.parametrize(
    "told",
    [
        [INBOX],
        [ADDED],
        [("mail.added", {"message": "n", "folder": "nowhere", "flags": []})],
        [("mail.added", {"message": "n", "folder": "inbox"})],
        [("mail.copied", {"message": "m", "folder": "inbox", "flags": []})],
        [("mail.copied", {"message": "n", "folder": "inbox", "flags": []})],
        [("mail.moved", {"message": "m", "from": "work", "folder": "inbox", "flags": []})],
        [("mail.moved", {"message": "m", "from": "inbox", "folder": "inbox", "flags": []})],
        [COPIED, MOVED],
        [LEFT],
        [("mail.left", {"message": "m", "folder": "work"})],
        [("mail.flags_changed", {"message": "m", "folder": "inbox", "flags": []})],
        [("mail.flags_changed", {"message": "m", "folder": "work", "flags": []})],
        [("mail.folder_removed", {"folder": "inbox"}), SEEN],
        [REMOVED, REMOVED],
        [REMOVED, ("mail.reread", {"message": "m"})],
        [("mail.folder_removed", {"folder": "inbox"}), ("mail.folder_removed", {"folder": "inbox"})],
        [("mail.folder_renamed", {"folder": "nowhere"})],
        [("mail.invented", {})],
        [("mail.removed", {"v": 2, "message": "m"})],
    ],
)
def test_what_cannot_have_happened_is_refused_by_its_number(told: list[Told]) -> None:
    with pytest.raises(ImpossibleHistory) as raised:
        replay(entries([*START, *told]))

    assert raised.value.data == {"stream": 7, "seq": 3 + len(told)}


def test_a_gap_is_refused() -> None:
    with pytest.raises(ImpossibleHistory, match="entry 4 should come next"):
        replay(entries([MOVED], first=5), replay(entries(START)))


STEP = st.tuples(st.sampled_from("mn"), st.sampled_from("abc"), st.sampled_from([(), ("\\Seen",)]))


@settings(max_examples=60, deadline=None)
@given(st.lists(STEP, max_size=40))
def test_a_replay_is_what_was_done(steps: list[tuple[str, str, tuple[str, ...]]]) -> None:
    """A plain model does something to a random message in a random folder, and says what it did."""
    model: dict[str, dict[str, frozenset[str]]] = {}
    told: list[Told] = [("mail.folder_added", {"folder": name}) for name in "abc"]
    for message, folder, flags in steps:
        told += _act(model, message, folder, frozenset(flags))

    assert replay(entries(told)) == Replayed(model, set("abc"), len(told))


def _act(
    model: dict[str, dict[str, frozenset[str]]], message: str, folder: str, flags: frozenset[str]
) -> list[Told]:
    named = {"message": message, "folder": folder}
    places = model.get(message)
    if places is None:
        model[message] = {folder: flags}
        return [("mail.added", {**named, "flags": list(flags)})]
    if folder not in places and flags:
        places[folder] = flags
        return [("mail.copied", {**named, "flags": list(flags)})]
    if folder not in places:
        source = min(places)
        del places[source]
        places[folder] = flags
        return [("mail.moved", {**named, "from": source, "flags": list(flags)})]
    if places[folder] != flags:
        places[folder] = flags
        return [("mail.flags_changed", {**named, "flags": list(flags)})]
    if len(places) > 1:
        del places[folder]
        return [("mail.left", named)]
    del model[message]
    return [("mail.removed", {"message": message})]
