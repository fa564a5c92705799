"""Around every request: its id, its line in the log, its place in the metrics, the headers of all."""

import re
import time
from collections.abc import MutableMapping
from typing import Any

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from postroom import telemetry
from postroom.http import rates
from postroom.http.problems import add_headers
from postroom.ids import new_public_id

log = telemetry.logger()

GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
QUIET = frozenset({"/health", "/health/ready", "/metrics"})
"""Asked every few seconds by machines; logged at debug."""
SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Answers hold mail: no cache keeps them and no page frames them, unless a route says otherwise."""


class Requests:
    """The outermost layer. Accepts the caller's `X-Request-ID` if it is harmless, else makes one.

    `access_log`: whether each request has a line in the log; inside another application that is its server's.
    """

    def __init__(self, app: ASGIApp, *, access_log: bool = True) -> None:
        self.app, self._access_log = app, access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if GIVEN_ID.fullmatch(given) else str(new_public_id())
        scope.setdefault("state", {})["request_id"] = request_id
        status, began = 0, time.perf_counter()

        async def stamp(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                add_headers(message, {"X-Request-ID": request_id, **SAFE, **rates.told(scope)})
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, stamp)
            finally:
                self._tell(scope, status, time.perf_counter() - began)

    def _tell(self, scope: MutableMapping[str, Any], status: int, seconds: float) -> None:
        """The path's template and not the path: that would be ids in the log, a metric for each of them."""
        route = getattr(scope.get("route"), "path", None) or "(none)"
        telemetry.HTTP_SECONDS.labels(scope["method"], route, status).observe(seconds)
        if self._access_log:
            _log(scope["method"], route, status, seconds)


def _log(method: str, route: str, status: int, seconds: float) -> None:
    say = log.debug if route in QUIET else log.info
    say("http.request", method=method, route=route, status=status, ms=round(seconds * 1000, 1))
