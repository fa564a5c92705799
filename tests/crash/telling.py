"""What the log tells: replayed to a state, and counted. Stricter than a reader of the log has to be."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import orjson

from postroom.events.model import Entry

State: TypeAlias = dict[str, dict[str, frozenset[str]]]  # message -> folder -> flags, by public ids

LEAVES = {"mail.moved": "from", "mail.left": "folder"}  # where the event names the place that is left
ARRIVES = {"mail.added", "mail.copied", "mail.moved"}
CHANGES = {*LEAVES, *ARRIVES, "mail.flags_changed", "mail.removed"}


class Impossible(Exception):
    """An event says what cannot have happened after those before it, or nothing new."""


def replayed(entries: Sequence[Entry]) -> State:
    """The state that the log tells of, by the rules of the events. Raises `Impossible`."""
    state: State = {}
    for entry in entries:
        if entry.kind in CHANGES:
            try:
                _replay(state, entry.kind, orjson.loads(entry.body))
            except (KeyError, AssertionError) as error:
                raise Impossible(f"{entry.seq} {entry.kind} {entry.body}") from error
    return state


def _replay(state: State, kind: str, body: Mapping[str, Any]) -> None:
    message, folder, flags = body["message"], body.get("folder"), frozenset(body.get("flags", ()))
    assert (kind == "mail.added") is (message not in state)
    if kind == "mail.removed":
        del state[message]
        return
    places = state.setdefault(message, {})
    if kind in LEAVES:
        del places[body[LEAVES[kind]]]
        assert places or kind == "mail.moved"
    if kind in ARRIVES:
        assert folder not in places
        places[body["folder"]] = flags
    if kind == "mail.flags_changed":
        assert places[body["folder"]] != flags
        places[body["folder"]] = flags


def counted(entries: Sequence[Entry]) -> Counter[tuple[str, str]]:
    """The kinds of events, each with what it is about: the public id of a message, or of a folder."""
    told = Counter[tuple[str, str]]()
    for entry in entries:
        body = orjson.loads(entry.body)
        if about := body.get("message") or body.get("folder"):
            told[about, entry.kind] += 1
    return told
