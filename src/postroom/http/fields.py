"""Only those fields of an answer that are asked for: `fields=id,subject`."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel

from postroom.errors import Invalid
from postroom.http.asked import Text

Fields = frozenset[str] | None
"""Names as answers have them; None: all of them."""


class UnknownField(Invalid):
    code = "http.unknown_field"


def fields_of(model: type[BaseModel]) -> Callable[..., Awaitable[Fields]]:
    """What routes depend on whose answers, or whose items, are of this model. Raises `UnknownField`."""
    names = [field.serialization_alias or name for name, field in model.model_fields.items()]
    described = f"Only these, with commas: {', '.join(names)}."

    async def asked(fields: Annotated[Text | None, Query(description=described)] = None) -> Fields:
        if fields is None:
            return None
        wanted = [name.strip() for name in fields.split(",")]
        unknown = [name for name in wanted if name not in names]
        if unknown:
            there = ", ".join(names)
            raise UnknownField(f"There is no field {unknown[0]!r}; there are {there}.", fields=names)
        return frozenset(wanted)

    return asked


def not_required(schema: dict[str, Any]) -> None:
    """For the document: a model of which any field may be left out."""
    schema.pop("required", None)


def only(answer: dict[str, Any], fields: Fields) -> dict[str, Any]:
    """The answer with nothing but these fields, in its own order."""
    return answer if fields is None else {name: value for name, value in answer.items() if name in fields}
