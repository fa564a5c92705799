"""Replay a stream from its beginning: what lies where, according to the log. Pure.

At every quiet point (no sync under way, nothing waiting for its grace) this is exactly what is stored. A
folder may go before its messages do: until each has moved, left or been removed, it lies in what is gone.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import orjson

from postroom import errors

from .model import Entry

Data: TypeAlias = Mapping[str, Any]
Flags: TypeAlias = frozenset[str]


class NotFromTheBeginning(errors.Conflict):
    """What was before was removed: what was stored when this begins cannot be known from the log."""

    code = "events.not_from_the_beginning"


class ImpossibleHistory(errors.Broken):
    """The log tells of something that cannot have happened after what it told before."""

    code = "events.impossible_history"


@dataclass(slots=True)
class Replayed:
    """What an account's events amount to, by public ids."""

    messages: dict[str, dict[str, Flags]] = field(default_factory=dict)  # message -> folder -> flags
    folders: set[str] = field(default_factory=set)
    seq: int = 0  # the last entry replayed


def replay(entries: Iterable[Entry], onto: Replayed | None = None) -> Replayed:
    """Carry out one stream's entries in order, from the first, or on from where `onto` stands.

    `onto` is changed and returned. Raises `NotFromTheBeginning`, or `ImpossibleHistory`, naming the entry.
    """
    state = onto if onto is not None else Replayed()
    for entry in entries:
        if state.seq == 0 and entry.seq > 1:
            raise NotFromTheBeginning(
                f"Stream {entry.stream} begins with entry {entry.seq}: those before were removed.",
                stream=entry.stream,
                seq=entry.seq,
            )
        try:
            _require(entry.seq == state.seq + 1, f"entry {state.seq + 1} should come next")
            data = orjson.loads(entry.body)
            _require(data.get("v") == 1, f"version {data.get('v')} of its payload is unknown")
            if entry.kind in STEPS:
                STEPS[entry.kind](state, data)
            else:
                _require(entry.kind.startswith(UNRELATED), "its kind is unknown")
        except (_Impossible, KeyError) as reason:
            raise ImpossibleHistory(
                f"Entry {entry.seq} ({entry.kind}) of stream {entry.stream} cannot be: {reason}.",
                stream=entry.stream,
                seq=entry.seq,
            ) from None
        state.seq = entry.seq
    return state


class _Impossible(Exception):
    """Why an entry cannot follow; told with its number by `replay`."""


def _require(possible: bool, reason: str) -> None:
    if not possible:
        raise _Impossible(reason)


def _folder_added(state: Replayed, data: Data) -> None:
    _require(data["folder"] not in state.folders, "the folder is there already")
    state.folders.add(data["folder"])


def _folder_removed(state: Replayed, data: Data) -> None:
    _known_folder(state, data)
    state.folders.remove(data["folder"])


def _known_folder(state: Replayed, data: Data) -> None:
    _require(data["folder"] in state.folders, "there is no such folder")


def _added(state: Replayed, data: Data) -> None:
    _require(data["message"] not in state.messages, "the message is there already")
    _known_folder(state, data)
    state.messages[data["message"]] = {data["folder"]: frozenset(data["flags"])}


def _copied(state: Replayed, data: Data) -> None:
    _place(state, data, _placements(state, data))


def _moved(state: Replayed, data: Data) -> None:
    placements = _placements(state, data)
    _require(data["from"] in placements, "the message did not lie in the folder that it comes from")
    _place(state, data, placements)
    del placements[data["from"]]


def _left(state: Replayed, data: Data) -> None:
    placements = _placements(state, data)
    _require(data["folder"] in placements, "the message did not lie there")
    _require(len(placements) > 1, "the message lies nowhere else")
    del placements[data["folder"]]


def _flags_changed(state: Replayed, data: Data) -> None:
    placements = _placements(state, data)
    _require(data["folder"] in placements, "the message does not lie there")
    _known_folder(state, data)
    flags = frozenset(data["flags"])
    _require(flags != placements[data["folder"]], "these were its flags already")
    placements[data["folder"]] = flags


def _removed(state: Replayed, data: Data) -> None:
    _placements(state, data)
    del state.messages[data["message"]]


def _placements(state: Replayed, data: Data) -> dict[str, Flags]:
    """Where the message lies; it must be known."""
    _require(data["message"] in state.messages, "there is no such message")
    return state.messages[data["message"]]


def _place(state: Replayed, data: Data, placements: dict[str, Flags]) -> None:
    _known_folder(state, data)
    _require(data["folder"] not in placements, "the message lies there already")
    placements[data["folder"]] = frozenset(data["flags"])


def _reread(state: Replayed, data: Data) -> None:
    _placements(state, data)


STEPS: dict[str, Callable[[Replayed, Data], None]] = {
    "mail.folder_added": _folder_added,
    "mail.folder_renamed": _known_folder,
    "mail.folder_renumbered": _known_folder,
    "mail.folder_removed": _folder_removed,
    "mail.added": _added,
    "mail.copied": _copied,
    "mail.moved": _moved,
    "mail.left": _left,
    "mail.flags_changed": _flags_changed,
    "mail.removed": _removed,
    "mail.reread": _reread,
}
UNRELATED = ("accounts.", "sync.")
