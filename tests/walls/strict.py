"""What schemathesis looks at in every answer beside its own checks; loaded by it as a module of hooks.

The document has `default` for whatever goes wrong. That is for problems: nothing else may hide behind it.
"""

import json
from typing import Any

import schemathesis

MEDIA_TYPE = "application/problem+json"


@schemathesis.hook
def before_load_schema(_context: Any, raw_schema: dict[str, Any]) -> None:
    """OpenAPI 3.1 has no words for the events of a stream: what the document describes is all of its text."""
    for path in raw_schema["paths"].values():
        for operation in path.values():
            for answer in operation["responses"].values():
                answer.get("content", {}).get("text/event-stream", {}).pop("schema", None)


@schemathesis.check
def only_problems_are_a_default(_context: Any, response: Any, case: Any) -> None:
    named = case.operation.definition.raw["responses"]
    status, said = response.status_code, response.content or b""
    if str(status) in named:
        return
    assert status >= 400, f"{status} is not in the document"
    content_type = response.headers.get("content-type", [""])[0]
    assert content_type == MEDIA_TYPE, f"{status} as {content_type}"
    problem = json.loads(said)
    assert problem["status"] == status
    assert status < 500 or "retry-after" in response.headers, f"{status} does not say when to come again"


@schemathesis.check
class EveryQuestionIsAnswered:
    """Of each operation something is asked that works, or the rest of what is asked of it proves little."""

    def __init__(self, *, but: list[str]) -> None:
        self._asked: set[str] = set()
        self._answered = set(but)

    def after_response(self, _context: Any, response: Any, case: Any) -> None:
        self._asked.add(case.operation.label)
        if response.status_code < 400:
            self._answered.add(case.operation.label)

    def after_run(self, _context: Any) -> None:
        idle = self._asked - self._answered
        assert not idle, f"never answered: {', '.join(sorted(idle))}"
