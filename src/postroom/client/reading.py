"""JSON to values and back, by the types that the models declare."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass
from datetime import date, datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict
from uuid import UUID

from .errors import BadAnswer

TOLD = {"sender": "from"}
"""Names of fields and parameters that Python cannot have."""

Read = Callable[[Any], Any]


def read(kind: Any, value: Any) -> Any:
    """A value of this type. Fields that it does not know are passed over: a newer server has more of them.

    Raises `BadAnswer`.
    """
    try:
        return reader(kind)(value)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        name = getattr(kind, "__name__", kind)
        raise BadAnswer(f"The answer is no {name}: {type(error).__name__} {error}.") from error


@cache
def reader(kind: Any) -> Read:
    """What makes values of this type."""
    if is_dataclass(kind):
        return _dataclass(kind)
    if is_typeddict(kind):
        return _sparse(kind)
    inner = get_args(kind)
    match get_origin(kind) or kind:
        case found if found in {Union, UnionType}:
            (rest,) = (each for each in inner if each is not NoneType)
            of = reader(rest)
            return lambda value: None if value is None else of(value)
        case found if found is Sequence:
            of = reader(inner[0])
            return lambda value: tuple(map(of, value))
        case found if found is Mapping:
            of = reader(inner[1])
            return lambda value: {name: of(each) for name, each in value.items()}
        case found if found in {datetime, date}:
            return datetime.fromisoformat if found is datetime else date.fromisoformat
        case found if found in {UUID, float}:
            return UUID if found is UUID else float
    return lambda value: value


def _dataclass(kind: Any) -> Read:
    hints = get_type_hints(kind)
    readers = [
        (name, TOLD.get(name, name), reader(hints[name]), may_lack)
        for name, may_lack in ((field.name, field.default is not MISSING) for field in fields(kind))
    ]

    def made(value: Any) -> Any:
        return kind(
            **{name: of(value[told]) for name, told, of, may_lack in readers if told in value or not may_lack}
        )

    return made


def _sparse(kind: Any) -> Read:
    readers = [(name, TOLD.get(name, name), reader(of)) for name, of in get_type_hints(kind).items()]
    return lambda value: {name: of(value[told]) for name, told, of in readers if told in value}


def written(value: Any) -> Any:
    """A value as JSON has it. Of a dataclass what is None is left out."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: written(each) for name, each in asdict(value).items() if each is not None}
    if isinstance(value, UUID | date):
        return str(value) if isinstance(value, UUID) else value.isoformat()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [written(each) for each in value]
    return value


def in_query(value: Any) -> str:
    """A value as a query has it; lists have commas between."""
    if isinstance(value, bool):
        return "true" if value else "false"
    told = written(value)
    return ",".join(map(str, told)) if isinstance(told, list) else str(told)
