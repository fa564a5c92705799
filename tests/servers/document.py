"""What the OpenAPI document promises, held against every answer that a test gets.

Whatever a test of any room asks the application, the answer must be one that the document knows: its status,
its kind, its fields, its headers, and the code of a problem.
"""

import json
import re
from collections.abc import Callable
from typing import Any, TypeAlias
from urllib.parse import unquote

import httpx2
from fastapi import FastAPI
from jsonschema_rs import Draft202012Validator

Part: TypeAlias = dict[str, Any]

ANYTHING: dict[str, Callable[[str], bool]] = {"binary": lambda _: True, "password": lambda _: True}
"""Formats of OpenAPI that any text has. One that nobody knows would be no promise: it is an error."""


class Document:
    """The document, and validators for its parts."""

    def __init__(self, document: Part) -> None:
        self.document = document
        self._paths = [
            (re.compile(re.sub(r"{\w+}", "[^/]+", path) + r"\Z"), operations)
            for path, operations in sorted(document["paths"].items(), key=lambda item: item[0].count("{"))
        ]
        self._validators: dict[str, Draft202012Validator] = {}

    @property
    def operations(self) -> dict[str, Part]:
        """By their names."""
        return {
            operation["operationId"]: operation
            for operations in self.document["paths"].values()
            for operation in operations.values()
        }

    def find(self, method: str, path: str) -> Part | None:
        for pattern, operations in self._paths:
            if pattern.match(path):
                found: Part | None = operations.get(method.lower())
                return found
        return None

    def complaints(self, schema: Part, value: Any) -> list[str]:
        """What is wrong with a value."""
        key = json.dumps(schema, sort_keys=True)
        if key not in self._validators:
            whole = {"allOf": [schema], "components": self.document["components"]}
            self._validators[key] = Draft202012Validator(
                whole, formats=ANYTHING, validate_formats=True, ignore_unknown_formats=False
            )
        errors = self._validators[key].iter_errors(value)
        return [f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in errors]

    def header(self, of: Part) -> Part:
        found: Part = self.document["components"]["headers"][of["$ref"].rpartition("/")[2]]
        return found

    async def check(self, answer: httpx2.Response) -> None:
        """Raises AssertionError for one that the document does not know."""
        request = answer.request
        operation = self.find(request.method, unquote(request.url.path))
        if operation is None:
            return
        asked = f"{request.method} {request.url.path}: {answer.status_code}"
        told = operation["responses"].get(str(answer.status_code))
        assert told is not None, f"{asked} is not in the document"
        for name, of in told["headers"].items():
            assert name in answer.headers or not self.header(of).get("required"), f"{asked} lacks {name}"
        if "content" not in told:
            assert "content-type" not in answer.headers, asked
            return
        kind = answer.headers["content-type"].partition(";")[0]
        content = told["content"].get(kind) or told["content"].get("*/*")
        assert content is not None, f"{asked} is {kind}, and should be one of {list(told['content'])}"
        if kind.endswith("json") and "*/*" not in told["content"]:
            await answer.aread()
            complaints = self.complaints(content["schema"], answer.json())
            assert not complaints, f"{asked} {answer.text[:500]} is not what the document says: {complaints}"

    def check_event(self, path: str, name: str, data: Any) -> None:
        """The same for an event of a stream."""
        operation = self.find("GET", path)
        assert operation is not None, path
        known = operation["responses"]["200"]["content"]["text/event-stream"]["x-events"]
        complaints = self.complaints(known[name], data)
        assert not complaints, f"{path}: {name} {data} is not what the document says: {complaints}"


_known: list[Document] = []


def document_of(app: FastAPI) -> Document:
    """The document of an application; that of every other is the same."""
    if not _known:
        _known.append(Document(app.openapi()))
    return _known[0]


def check_event(path: str, name: str, data: Any) -> None:
    """Hold an event against the document, once there is one."""
    for document in _known:
        document.check_event(path, name, data)
