"""What can go wrong with a call, by what the caller should do next.

Failure
├── NotReached           no answer: the server, or the network to it, is away
├── BadAnswer            an answer that is not the API's; something else is at this address, or in between
└── Problem              the API says no: `code` for programs, `message` for people, `data` particulars
    ├── Invalid          ask differently; or, when an account is connected, its owner must act: `code` says
    ├── Unauthenticated  send a key, or another one
    ├── Forbidden        send one that may do this
    ├── NotFound         it is not there, as far as this key may know
    ├── Conflict         it is so already, or something else is in the way
    ├── TryLater         the same call may work after `wait`; it was tried a few times already
    └── Broken           a mistake of the server's, or it needs its operator: `request_id` finds it in the log
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any


class Failure(Exception):
    """Base of all of them. `str(error)` is a sentence for people."""


class NotReached(Failure):
    """Whether the call was carried out is not known, unless it only reads."""


class BadAnswer(Failure):
    """Nothing that we understand."""


class Problem(Failure):
    """An answer that is a problem document (RFC 9457)."""

    def __init__(self, status: int, told: Mapping[str, Any]) -> None:
        super().__init__(str(told.get("detail", "")))
        self.status = status
        self.code = str(told.get("code", ""))
        self.title = str(told.get("title", ""))
        self.message = str(told.get("detail", ""))
        self.data: Mapping[str, Any] = told.get("data") or {}
        self.errors: Sequence[Mapping[str, str]] = told.get("errors") or ()  # `where` and `what` of each
        self.request_id: str | None = told.get("request_id")


class Invalid(Problem):
    """400, 413, 416, 422, 426."""


class Unauthenticated(Problem):
    """401."""


class Forbidden(Problem):
    """403."""


class NotFound(Problem):
    """404."""


class Conflict(Problem):
    """409."""


class TryLater(Problem):
    """429 and 503, where the server says how long to wait."""

    def __init__(self, status: int, told: Mapping[str, Any], wait: timedelta) -> None:
        super().__init__(status, told)
        self.wait = wait


class Broken(Problem):
    """500, and 503 where nobody knows how long it takes."""


BY_STATUS: Mapping[int, type[Problem]] = {401: Unauthenticated, 403: Forbidden, 404: NotFound, 409: Conflict}


def problem(status: int, told: Mapping[str, Any], retry_after: str | None) -> Problem:
    """The error for a problem document. `retry_after` is the header of that name."""
    if retry_after is not None and retry_after.isdecimal():
        return TryLater(status, told, timedelta(seconds=int(retry_after)))
    if status >= 500:
        return Broken(status, told)
    return BY_STATUS.get(status, Invalid)(status, told)
