"""What a stream tells, as schemas: the kinds of events from the table that the log itself checks them by."""

from collections.abc import Mapping
from typing import Any

from postroom.events.kinds import KINDS, Kind, Type

FIELDS: Mapping[Type, Mapping[str, Any]] = {
    Type.ID: {"type": "string", "format": "uuid"},
    Type.FLAGS: {"type": "array", "items": {"type": "string"}},
    Type.CODE: {"type": "string"},
    Type.NUMBER: {"type": "integer", "minimum": 0},
    Type.TRUE: {"const": True},
}
EVERY_KIND = "*"
"""Stands, in what a room tells of a stream, for all kinds of events of the log."""


def schemas() -> dict[str, Any]:
    """A schema for each kind of event, under its name."""
    return {name: _schema(name, kind) for name, kind in KINDS.items()}


def told(operation: Mapping[str, Any]) -> dict[str, str]:
    """The schemas of what a stream tells, by the names under which it does."""
    named = dict(operation.get("events", {}))
    if named.pop(EVERY_KIND, None):
        named |= {kind: kind for kind in KINDS}
    return named


def _schema(name: str, kind: Kind) -> dict[str, Any]:
    fields = {**kind.fields, **kind.optional}
    data = {
        "type": "object",
        "required": ["v", *kind.fields],
        "properties": {"v": {"const": kind.version}, **{field: FIELDS[of] for field, of in fields.items()}},
    }
    return {
        "description": kind.says,
        "allOf": [{"$ref": "#/components/schemas/Event"}],
        "properties": {"kind": {"const": name}, "data": data},
    }
