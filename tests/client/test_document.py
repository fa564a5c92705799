"""The client is what the OpenAPI document says, method by method and field by field, in both directions."""

import inspect
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from datetime import date, datetime
from typing import (
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)
from uuid import UUID

import pytest
from fastapi import FastAPI
from servers.document import Document, Part, document_of

from postroom.client import Client, model
from postroom.client.call import Call, Download, Following, Listing, Operation, Paged, Stream, Unset
from postroom.client.model import Content, Grant
from postroom.client.reading import TOLD

DESCRIBED = (Operation, Listing, Download, Stream)
OTHER_WORDS = {
    "list_sparse_messages": "list_messages",
    "get_sparse_message": "get_message",
    "follow_job_batches": "follow_job",
}
"""Operations whose answers are of several kinds have a method for each."""
BY_STREAM = {"open_event_socket"}
"""Tells what `follow_events` does."""
BY_ITSELF = {"If-None-Match", "If-Range", "Range", "last-event-id", "format"}
"""Parameters that the client sets: by `remember`, `first` and `past`, what was seen, and the method."""
PARTS = {"first", "past"}
WITHOUT_ITS_FIELDS = {"list_messages", "get_message"}
"""They give all fields; `fields` is a parameter of the methods beside them."""
OURS = {"OauthIn": Grant}
BATCHES = {"batch_progress", "batch_complete"}


@pytest.fixture
def document(app: FastAPI) -> Document:
    return document_of(app)


def methods() -> dict[str, Any]:
    return {
        name: found
        for name in dir(Client)
        if isinstance(found := inspect.getattr_static(Client, name), DESCRIBED)
    }


def parameters(method: Any) -> dict[str, tuple[Any, bool]]:
    """Types of a method's parameters by their names in the document, and whether they must be given."""
    hints = get_type_hints(method.describe)
    found: dict[str, tuple[Any, bool]] = {}
    for name, parameter in list(inspect.signature(method.describe).parameters.items())[1:]:
        if parameter.kind is parameter.VAR_KEYWORD:
            (narrowed,) = get_args(hints[name])
            found |= {TOLD.get(each, each): (kind, False) for each, kind in get_type_hints(narrowed).items()}
        else:
            found[TOLD.get(name, name)] = hints[name], parameter.default is parameter.empty
    return found


class Types:
    """The types of schemas."""

    def __init__(self, document: Document) -> None:
        self._schemas = document.document["components"]["schemas"]
        self.seen: set[str] = set()

    def of(self, schema: Part) -> Any:
        """As the client should have it."""
        if "$ref" in schema:
            return self._named(schema["$ref"].rpartition("/")[2])
        if "anyOf" in schema:
            kinds = [each for each in schema["anyOf"] if each != {"type": "null"}]
            (found,) = map(self.of, kinds)
            return found | None if len(kinds) < len(schema["anyOf"]) else found
        if "enum" in schema or "const" in schema:
            return Literal[*schema.get("enum", [schema.get("const")])]
        return self._plain(schema)

    def _plain(self, schema: Part) -> Any:
        match schema.get("type"), schema.get("format"):
            case "array", _:
                return Sequence[self.of(schema["items"])]  # type: ignore[misc]
            case "object", _:
                values = schema["additionalProperties"]
                keys = self.of(schema["propertyNames"]) if "propertyNames" in schema else str
                return Mapping[keys, Any if values is True else self.of(values)]  # type: ignore[misc, valid-type]
            case "string", kind:
                return {"uuid": UUID, "date-time": datetime, "date": date}.get(kind or "", str)
            case None, _:
                return Any
            case kind, _:
                return {"integer": int, "number": float, "boolean": bool}[kind]

    def _named(self, name: str) -> Any:
        schema = self._schemas[name]
        if "enum" in schema:
            return self.of(schema)
        self.seen.add(name)
        return OURS.get(name) or getattr(model, name)

    def all_of(self, name: str) -> Part:
        """A model's schema together with those that it adds to."""
        schema = self._schemas[name]
        bases = [self.all_of(each["$ref"].rpartition("/")[2]) for each in schema.get("allOf", [])]
        return {
            "properties": {k: v for part in [*bases, schema] for k, v in part["properties"].items()},
            "required": [each for part in [*bases, schema] for each in part.get("required", [])],
        }


def plain(kind: Any) -> Any:
    """A type in one of the many ways to write it."""
    if get_origin(kind) in {Union, types.UnionType}:
        return frozenset(map(plain, get_args(kind)))
    if get_origin(kind) is Literal:
        return "Literal", frozenset(get_args(kind))
    if get_origin(kind) in {Required, NotRequired}:
        return plain(get_args(kind)[0])
    if get_args(kind):
        return get_origin(kind), tuple(map(plain, get_args(kind)))
    return type(None) if kind is None else kind


def without(kind: Any, gone: Any) -> Any:
    """One of several types left out."""
    found = plain(kind)
    if isinstance(found, frozenset):
        rest = found - {plain(gone)}
        return next(iter(rest)) if len(rest) == 1 else rest
    return found


def test_every_operation_has_a_method_and_every_method_an_operation(document: Document) -> None:
    named = {OTHER_WORDS.get(name, name) for name in methods()}

    assert named == document.operations.keys() - BY_STREAM


def test_every_method_asks_at_the_path_of_its_operation(document: Document) -> None:
    where = {
        operation["operationId"]: (method.upper(), path)
        for path, operations in document.document["paths"].items()
        for method, operation in operations.items()
    }
    for name, method in methods().items():
        told, path = where[OTHER_WORDS.get(name, name)]
        given = {each: _some(kind) for each, (kind, must) in parameters(method).items() if must}
        call = method.describe(None, **given)

        assert (call.method, call.path) == (told, path.format(**given)), name


def _some(kind: Any) -> Any:
    return {UUID: UUID(int=7), int: 7, str: "a"}.get(kind, ["read"])


def test_every_parameter_is_there_with_its_type(document: Document) -> None:
    types = Types(document)
    for name, method in methods().items():
        operation = document.operations[OTHER_WORDS.get(name, name)]
        told = {
            each["name"]: (types.of(each["schema"]), each.get("required", False))
            for each in operation.get("parameters", ())
            if each.get("name", "If-None-Match") not in BY_ITSELF | ({"fields"} & _left_out(name))
        }
        told |= dict(_fields_of_body(types, operation))
        found = parameters(method)
        if isinstance(method, Download):
            found = {each: of for each, of in found.items() if each not in PARTS}

        assert found.keys() == told.keys(), name
        for each, (kind, must) in found.items():
            wanted, is_required = told[each]
            must_be = must or each == "fields"
            assert must == is_required or each == "fields", (name, each)
            optional = plain(kind) if must_be else without(kind, None)
            assert optional == without(wanted, None), (name, each, kind, wanted)


def _left_out(name: str) -> set[str]:
    return {"fields"} if name in WITHOUT_ITS_FIELDS else set()


def _fields_of_body(types: Types, operation: Part) -> Iterator[tuple[str, tuple[Any, bool]]]:
    if "requestBody" not in operation:
        return
    body = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    schema = types.all_of(body)
    for name, of in schema["properties"].items():
        kind = types.of(of)
        if body in {"ChangeIn", "WebhookChangeIn"}:  # to leave a field out is not to give null
            kind = kind | Unset
        yield name, (kind, name in schema["required"])


def test_every_answer_is_what_the_method_gives(document: Document) -> None:
    types = Types(document)
    for name, method in methods().items():
        operation = document.operations[OTHER_WORDS.get(name, name)]
        given = get_type_hints(method.describe)["return"]
        call = method.describe(None, **{k: _some(t) for k, (t, must) in parameters(method).items() if must})
        if isinstance(method, Download | Stream):
            continue
        wanted = set(_answers(types, operation, is_sparse="sparse" in name))
        assert plain(get_args(given)[0]) == plain(Union[*wanted]), name
        if isinstance(method, Listing):
            page, item = get_args(given)
            assert get_origin(given) is Paged
            assert plain(get_type_hints(page)["items"]) == plain(Sequence[item]), name  # type: ignore[valid-type]
        assert call.answer in wanted or (call.answer is None and wanted == {type(None)}), name


def _answers(types: Types, operation: Part, *, is_sparse: bool) -> Iterator[Any]:
    for status, answer in operation["responses"].items():
        if int(status) >= 300:
            continue
        content = answer.get("content", {})
        if "application/json" in content:
            schema = content["application/json"]["schema"]
            kinds = schema.get("anyOf", [schema])
            yield types.of(kinds[-1 if is_sparse else 0])
        else:
            yield str if content else type(None)


def test_every_stream_tells_what_the_document_says(document: Document) -> None:
    types = Types(document)
    for name, method in methods().items():
        if not isinstance(method, Stream):
            continue
        operation = document.operations[OTHER_WORDS.get(name, name)]
        told = operation["responses"]["200"]["content"]["text/event-stream"]["x-events"]
        given = {k: _some(t) for k, (t, must) in parameters(method).items() if must}
        call: Following[Any] = method.describe(None, **given)
        for event, of in told.items():
            if event == "heartbeat" or ("follow_job" in name and (event in BATCHES) != ("batch" in name)):
                continue
            kind = call.kinds.get(event, call.otherwise)
            wanted = model.Event if event not in call.kinds else types.of(of)
            assert kind is wanted, (name, event)
        assert call.kinds.keys() <= told.keys()


def test_every_model_has_the_fields_of_its_schema(document: Document) -> None:
    """Models that no call of the client gives are not there, either."""
    types = Types(document)
    schemas = document.document["components"]["schemas"]
    skipped = {"Problem", "Resume", "Heartbeat", "ConnectIn", "ConsentIn", "ChangeIn", "KeyIn", "ConsumerIn"}
    skipped |= {"WebhookIn", "WebhookChangeIn", "RotateIn", "ReplayIn"}
    names = {name for name, of in schemas.items() if "enum" not in of and "." not in name} - skipped

    assert names == {name for name in model.__all__ if name not in {"Content", "Grant", "News"}} | OURS.keys()
    for name in sorted(names):
        schema, kind = types.all_of(name), types._named(name)
        hints = {TOLD.get(each, each): of for each, of in get_type_hints(kind).items()}
        assert hints.keys() == schema["properties"].keys(), name
        for each, of in schema["properties"].items():
            wanted = plain(types.of(of))
            found = plain(hints[each])
            if each not in schema["required"] and is_dataclass(kind) and name not in {"Health", "JobStatus"}:
                wanted, found = without(types.of(of), None), without(hints[each], None)
            assert found == wanted, (name, each)
        if is_dataclass(kind):
            lacking = {TOLD.get(f.name, f.name) for f in fields(kind) if f.default is not MISSING}
            assert lacking == schema["properties"].keys() - set(schema["required"]), name
        else:
            assert is_typeddict(kind)
            assert not kind.__required_keys__
            assert not schema["required"]


def test_a_call_of_every_kind_is_looked_at() -> None:
    found = {type(method) for method in methods().values()}

    assert found == set(DESCRIBED)
    assert get_args(get_type_hints(Client.get_account.describe)["return"])
    assert Content in vars(model).values()
    assert issubclass(Paged, Call)
