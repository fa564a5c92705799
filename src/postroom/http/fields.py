"""Only those fields of an answer that are asked for: `fields=id,subject`."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Query, Response
from pydantic import BaseModel

from postroom.errors import Invalid
from postroom.http.asked import Text

Fields = frozenset[str] | None
"""Names of attributes of a model; None: all of them."""


class UnknownField(Invalid):
    code = "http.unknown_field"


def fields_of(model: type[BaseModel]) -> Callable[..., Awaitable[Fields]]:
    """What routes depend on whose answers, or whose items, are of this model. Raises `UnknownField`."""
    names = {field.serialization_alias or name: name for name, field in model.model_fields.items()}
    described = f"Only these, with commas: {', '.join(names)}."

    async def asked(fields: Annotated[Text | None, Query(description=described)] = None) -> Fields:
        if fields is None:
            return None
        wanted = [name.strip() for name in fields.split(",")]
        unknown = [name for name in wanted if name not in names]
        if unknown:
            there = ", ".join(names)
            raise UnknownField(f"There is no field {unknown[0]!r}; there are {there}.", fields=list(names))
        return frozenset(names[name] for name in wanted)

    return asked


def not_required(schema: dict[str, Any]) -> None:
    """For the document: a model of which any field may be left out."""
    schema.pop("required", None)


def only(answer: BaseModel, include: Any) -> Response:
    """The answer with nothing but what `include` names, as pydantic takes it."""
    return Response(answer.model_dump_json(by_alias=True, include=include), media_type="application/json")
