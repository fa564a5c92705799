"""What callers send, on every route that takes a body."""

import re
from uuid import uuid4

from fastapi import FastAPI
from servers.api import Client

MANY = {f"member{number}": number for number in range(1000)}


async def test_no_body_earns_a_complaint_for_each_of_its_members(app: FastAPI, api: Client) -> None:
    taking = [
        (method, re.sub(r"{[a-z_]+}", str(uuid4()), path))
        for path, operations in app.openapi()["paths"].items()
        for method, operation in operations.items()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    ]
    answers = [await api.request(method, path, json=MANY) for method, path in taking]

    assert len(taking) >= 3
    assert {answer.status_code for answer in answers} == {422}
    for answer in answers:
        assert [error["where"] for error in answer.json()["errors"]] == ["body"]
        assert "100 members" in answer.json()["detail"]
