"""Every error as a problem document (RFC 9457), from one table of kinds.

    {"type": "urn:postroom:problem:mail.not_found", "title": "Not found", "status": 404,
     "code": "mail.not_found", "detail": "There is no such message."}

`code` is for programs and never changes, `detail` is a sentence for people, `data` holds particulars. What an
operator must mend is told to the log, not to the caller, who gets the `request_id` to find it there.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from http import HTTPStatus
from math import ceil
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from postroom import errors, telemetry
from postroom.http.caller import MissingScope, NoKey

log = telemetry.logger()

KINDS: tuple[tuple[type[errors.PostroomError], int, str], ...] = (
    (errors.TooOften, 429, "Too many requests"),
    (errors.TryLater, 503, "Try again later"),
    (errors.NeedsOwner, 422, "The owner of the account must act"),
    (errors.BadMessage, 422, "This message cannot be handled"),
    (errors.Invalid, 400, "The request makes no sense"),
    (errors.Unauthenticated, 401, "Who is asking?"),
    (errors.Forbidden, 403, "Not allowed"),
    (errors.NotFound, 404, "Not found"),
    (errors.Conflict, 409, "Something is in the way"),
    (errors.Broken, 503, "The installation needs attention"),
    (errors.PostroomError, 500, "Something went wrong"),
)
MEDIA_TYPE = "application/problem+json"
MANY = 20
"""Complaints about one request that are told; a body can earn any number of them."""

NO_JSON = "json_invalid"  # of pydantic's errors, the one that FastAPI makes itself
UNREAD = {400, 413}  # what the router answers of a body

MENDING = timedelta(seconds=10)
"""When to ask again while the operator mends something: a database that restarts is back by then."""

UNQUOTABLE = re.compile(r'[^\x20-\x7e]|["\\]')
"""What an error_description must not hold (RFC 6750, 3)."""

ROUTING = {
    400: ("http.bad_request", "The body cannot be read."),
    404: ("http.not_found", "There is nothing at this path."),
    405: ("http.method_not_allowed", "This path has other methods; see the header Allow."),
    413: ("http.too_large", "The body is too large."),
    416: ("http.nothing_in_range", "Nothing lies in this range; see the header Content-Range."),
    426: ("http.upgrade_required", "This path speaks WebSocket only."),
}
"""What the router and the layers around it answer."""


def document(status: int, code: str, title: str, detail: str, **more: Any) -> dict[str, Any]:
    """Members in `more` that are None or empty are left out."""
    return {
        "type": f"urn:postroom:problem:{code}",
        "title": title,
        "status": status,
        "code": code,
        "detail": detail,
        **{name: value for name, value in more.items() if value},
    }


def answer(document: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    body = orjson.dumps(document, default=str, option=orjson.OPT_NON_STR_KEYS)
    return Response(body, document["status"], headers, MEDIA_TYPE)


def told(error: errors.PostroomError, request_id: str | None) -> dict[str, Any]:
    """The problem that tells this error to a caller, as a document."""
    status, title = next((status, title) for kind, status, title in KINDS if isinstance(error, kind))
    detail, data = error.message, error.data
    if isinstance(error, errors.Broken):
        detail, data = "The operator finds the reason in the log, by this request id.", {}
    request_id = request_id if status >= 500 else None
    return document(status, error.code, title, detail, data=data, request_id=request_id)


def of(error: errors.PostroomError, request_id: str | None) -> Response:
    """The same as an answer."""
    headers = {}
    if isinstance(error, errors.Unauthenticated | MissingScope):
        headers["WWW-Authenticate"] = _challenge(error)
    wait = error.wait if isinstance(error, errors.TryLater) else MENDING
    if isinstance(error, errors.TryLater | errors.Broken):
        headers["Retry-After"] = str(ceil(wait.total_seconds()))
    return answer(told(error, request_id), headers)


def _challenge(error: errors.PostroomError) -> str:
    """RFC 6750, 3: nothing of an error where nothing was shown."""
    words = ['realm="postroom"']
    if isinstance(error, MissingScope):
        words += ['error="insufficient_scope"', f'scope="{error.data["scope"]}"']
    elif not isinstance(error, NoKey):
        said = UNQUOTABLE.sub("", error.message)
        words += ['error="invalid_token"', f'error_description="{said}"']
    return f"Bearer {', '.join(words)}"


async def _nobody_counts(_request: Request) -> None: ...


def plug_in(app: FastAPI, unread: Callable[[Request], Awaitable[None]] = _nobody_counts) -> None:
    """Let the application answer every error that has a handler with a problem.

    `unread` is told of requests whose body could not be read, and which no route has seen; what it raises is
    answered instead.
    """
    app.state.unread = unread
    app.add_exception_handler(errors.PostroomError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _routing)


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.PostroomError)
    if isinstance(error, errors.Broken):
        log.error("http.broken", code=error.code, reason=error.message)
    return of(error, request_id(request.scope))


async def _invalid(request: Request, error: Exception) -> Response:
    """Names the place and the complaint, never the value: it may be a password."""
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if any(each["type"] == NO_JSON for each in found):
        try:
            await request.app.state.unread(request)
        except errors.PostroomError as refusal:
            return of(refusal, request_id(request.scope))
    complaints = [_complaint(each, request.headers) for each in found]
    title = "The request is not valid"
    first = f"{complaints[0]['where']}: {complaints[0]['what']}" if complaints else f"{title}."
    return answer(document(422, "http.invalid_request", title, first, errors=complaints[:MANY]))


def _complaint(error: Mapping[str, Any], headers: Headers) -> dict[str, str]:
    where, what = error["loc"], error["msg"]
    if error["type"] == NO_JSON:
        where, what = ("body",), f"This is no JSON: {error['ctx']['error']}, at character {where[-1]}"
    elif where == ("body",) and error["type"] != "missing" and "json" not in headers.get("content-type", ""):
        what = "Send JSON, and say so: `Content-Type: application/json`"
    return {"where": ".".join(map(str, where)), "what": what}


async def _routing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code in UNREAD:
        try:
            await request.app.state.unread(request)
        except errors.PostroomError as refusal:
            return of(refusal, request_id(request.scope))
    return routing(error.status_code, {**(error.headers or {}), **_allowed(request, error.status_code)})


def _allowed(request: Request, status: int) -> dict[str, str]:
    """The methods of this path. The router names those of one function only, and each method has its own."""
    path = getattr(request.scope.get("route"), "path", None)
    operations = request.app.openapi()["paths"].get(path) if status == 405 else None
    if not operations:
        return {}
    more = {"head"} if "get" in operations else set()
    return {"Allow": ", ".join(sorted({*operations, *more})).upper()}


def routing(status: int, headers: dict[str, str] | None = None) -> Response:
    """The problem of a request that reached no route."""
    code, detail = ROUTING.get(status, ("http.refused", "The request is refused."))
    return answer(document(status, code, HTTPStatus(status).phrase, detail), headers)


def request_id(scope: Scope) -> str | None:
    """The id that `requests` gave this request."""
    found: str | None = scope.get("state", {}).get("request_id")
    return found


def path_of(scope: Scope) -> str:
    """The path of a request within our application, wherever that is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


class Unexpected:
    """Around one request: an error that nobody foresaw becomes a 500 that tells nothing but where to look.

    Once the answer has begun there is no taking it back; the error goes on, and the server cuts the
    connection, so that half an answer never looks like a whole one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def watch(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except Exception:
            telemetry.HTTP_UNEXPECTED.inc()
            log.exception("http.unexpected", begun=begun)
            if begun:
                raise
            await _nothing_but_an_id(scope)(scope, receive, send)


def _nothing_but_an_id(scope: Scope) -> Response:
    detail = "This is a mistake of ours; the log tells more under this request id."
    found = document(500, "http.unexpected", "Something went wrong", detail, request_id=request_id(scope))
    return answer(found)


def add_headers(message: Message, headers: dict[str, str]) -> None:
    """Add headers to the start of an answer, where the answer does not set them itself."""
    present = MutableHeaders(scope=message)
    for name, value in headers.items():
        present.setdefault(name, value)
