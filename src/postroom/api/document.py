"""The OpenAPI document: what FastAPI knows of the routes, and what it cannot.

    parameters, bodies, answers ─ FastAPI ──────────┐
    what all routes share ─ document.json ──────────┼─▶ document
    examples, errors, events ─ routes.json of rooms ┘

It is made when it is first asked for: few ask, and a start-up would be longer by it. An example is written
once for each model; in it `{"$ref": "Account"}` stands for the example of another, and what is beside that
goes before. What a room has not told yet is left out; a test asks for it.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from importlib.resources import files
from typing import Any, NamedTuple, TypeAlias

import orjson

from postroom.http.caller import Scope
from postroom.http.deps import NEEDS, OF_ALL
from postroom.http.problems import MEDIA_TYPE

from . import news

Part: TypeAlias = dict[str, Any]

SCHEMAS = "#/components/schemas/"
OURS = re.compile(rb'"#/components/schemas/(\w+)Out"')
"""A model of an answer is called as in the code, which tells it from the thing itself by `Out`."""
COMMAS = frozenset({"facets", "fields", "types"})
"""Parameters that hold a list."""
JSON, STREAM = "application/json", "text/event-stream"


class Needs(NamedTuple):
    """What a caller needs."""

    scope: Scope | None  # None: any will do, or nobody is asked
    all_accounts: bool  # a key that is limited to some will not do


def needs_of(route: Callable[..., Any] | None) -> Needs:
    """What a caller of a route's function needs."""
    asked = [] if route is None else route.__annotations__.values()
    for caller, scope in NEEDS:
        if any(hint is caller for hint in asked):
            return Needs(scope, any(caller is one for one in OF_ALL))
    return Needs(None, all_accounts=False)


def complete(plain: Part, needs: Mapping[str | None, Needs]) -> Part:
    """FastAPI's document with all that it lacks. `needs` are those of the operations, by their names."""
    shared: Part = orjson.loads((files(__package__) / "document.json").read_bytes())
    told = _told()
    document: Part = orjson.loads(OURS.sub(rb'"#/components/schemas/\1"', orjson.dumps(plain)))
    document["info"] |= shared["info"]
    document["tags"] = shared["tags"]
    schemas = {name.removesuffix("Out"): of for name, of in document["components"]["schemas"].items()}
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for name, schema in schemas.items():
        schema["title"] = name
    schemas |= shared["components"]["schemas"] | told["schemas"] | news.schemas()
    document["components"] = {**shared["components"], "schemas": dict(sorted(schemas.items()))}
    making = _Making(shared, told)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            making.complete(path, method, operation, needs[operation["operationId"]])
    return document


def _told() -> dict[str, Part]:
    """What the rooms tell of their routes."""
    found: dict[str, Part] = {"examples": {}, "operations": {}, "schemas": {}}
    for room in files("postroom").iterdir():
        if room.is_dir() and (file := room / "routes.json").is_file():
            for about, parts in orjson.loads(file.read_bytes()).items():
                found[about] |= parts
    return found


class _Making:
    """Completes one operation after the other."""

    def __init__(self, shared: Part, told: dict[str, Part]) -> None:
        self._says, self._headers, self._errors = shared["says"], shared["headers"], shared["errors"]
        self._examples, self._operations = told["examples"], told["operations"]

    def complete(self, path: str, method: str, operation: Part, needs: Needs) -> None:
        name = operation["operationId"]
        told = self._operations.get(name, {})
        operation["summary"] = name.replace("_", " ").capitalize()
        if "security" in operation:
            wanted = [] if needs.scope is None else [needs.scope.value]
            operation["security"] = [{scheme: wanted} for scheme in ("key", "token", "session")]
            if wanted:
                operation["description"] += f"\n\nNeeds the scope `{needs.scope}`."
        responses = operation["responses"]
        responses.pop("422", None)
        codes = self._codes(method, operation, needs, told)
        for parameter in operation.get("parameters", ()):
            _make_plain(parameter)
        if method == "get" and path.startswith("/v1/"):
            _make_conditional(operation)
        if "requestBody" in operation:
            operation["requestBody"]["content"][JSON]["examples"] = self._named(told.get("asked", {}))
        for status, response in responses.items():
            self._answer(operation, status, response, told)
        for status, known in codes.items():
            responses[status] = self._problem(operation, status, known)
        operation["responses"] = dict(sorted(responses.items()))

    def _codes(self, method: str, operation: Part, needs: Needs, told: Part) -> dict[str, frozenset[str]]:
        """The codes of the problems that it can answer, by status."""
        asked = {parameter["name"] for parameter in operation.get("parameters", ())}
        is_so = {
            "any": True,
            "known": "security" in operation,
            "scope": needs.scope is not None,
            "all_accounts": needs.all_accounts,
            "changes": method != "get" and "security" in operation,
            "asked": bool(asked) or "requestBody" in operation,
            "body": "requestBody" in operation,
            "range": "206" in operation["responses"],
            **{name: name in asked for name in ("cursor", "page", "fields")},
        }
        shared = [self._errors[name] for name, holds in is_so.items() if holds]
        found: dict[str, frozenset[str]] = {}
        for codes in [*shared, told.get("errors", {})]:
            for status, known in codes.items():
                found[status] = found.get(status, frozenset()) | set(known)
        return found

    def _answer(self, operation: Part, status: str, response: Part, told: Part) -> None:
        """One that is no problem."""
        if response.get("description") in {None, "Successful Response", HTTPStatus(int(status)).phrase}:
            response["description"] = self._says[status]
        named = [*told.get("headers", {}).get(status, ()), *response.pop("headers", ())]
        response["headers"] = self._headers_of(operation, status, named)
        if status == "101":
            messages = told.get("messages", {})
            response["x-messages"] = {name: {"$ref": SCHEMAS + of} for name, of in messages.items()}
        for media_type, content in response.get("content", {}).items():
            # Of a stream, tools take the schema for that of each event; `x-events` has these.
            schema = content.setdefault("schema", {} if media_type == STREAM else {"type": "string"})
            if media_type == JSON:
                refs = [each.get("$ref", "") for each in schema.get("anyOf", [schema])]
                names = [name for ref in refs if (name := ref.removeprefix(SCHEMAS)) in self._examples]
                content["examples"] = self._named({name: {"$ref": name} for name in names})
            elif status in told.get("answers", {}):
                content["examples"] = self._named({"example": told["answers"][status]})
            if media_type == STREAM:
                content["x-events"] = {name: {"$ref": SCHEMAS + of} for name, of in news.told(told).items()}

    def _problem(self, operation: Part, status: str, codes: frozenset[str]) -> Part:
        schema = {
            "allOf": [{"$ref": f"{SCHEMAS}Problem"}],
            "properties": {"code": {"enum": sorted(codes)}},
        }
        return {
            "description": self._says[status],
            "headers": self._headers_of(operation, status, ()),
            "content": {MEDIA_TYPE: {"schema": schema}},
        }

    def _headers_of(self, operation: Part, status: str, more: Iterable[str]) -> Part:
        names = [*self._headers["always"], *self._headers.get(status, ()), *more]
        if "security" in operation and status != "401":
            names += self._headers["counted"]
        return {name: {"$ref": f"#/components/headers/{name}"} for name in names}

    def _named(self, examples: Part) -> Part:
        return {name: {"value": self._filled(value)} for name, value in examples.items()}

    def _filled(self, example: Any) -> Any:
        """An example, with those of other models in their places."""
        if isinstance(example, list):
            return [self._filled(each) for each in example]
        if not isinstance(example, dict):
            return example
        base = self._filled(self._examples[example["$ref"]]) if "$ref" in example else {}
        return base | {name: self._filled(value) for name, value in example.items() if name != "$ref"}


def _make_plain(parameter: Part) -> None:
    """What stands in a path, a query or a header is never null, and may be a list with commas."""
    schema = parameter["schema"]
    if "anyOf" in schema:
        (rest,) = [each for each in schema.pop("anyOf") if each != {"type": "null"}]
        schema |= rest
    if parameter["name"] in COMMAS:
        parameter["schema"] = {"type": "array", "items": {"type": "string"}, "minItems": 1}
        parameter |= {"style": "form", "explode": False}


def _make_conditional(operation: Part) -> None:
    """Answers in JSON and stored bytes have tags; of the latter there are parts."""
    responses, asked = operation["responses"], operation.setdefault("parameters", [])
    told = ["ETag"]
    if "206" in responses:
        asked.append({"$ref": "#/components/parameters/IfRange"})
        told += ["Accept-Ranges", "Content-Disposition"]
        responses["206"]["headers"] = [*told, "Content-Range"]
    elif JSON not in responses.get("200", {}).get("content", {}):
        return
    asked.append({"$ref": "#/components/parameters/IfNoneMatch"})
    responses["304"] = {}
    responses["200"]["headers"] = responses["304"]["headers"] = told
