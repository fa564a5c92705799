"""Answers that their asker has already are not sent again (RFC 9110, 8.8.3 and 13.1.2).

Every answer in JSON gets a tag that is made of what it says, so it changes exactly when the answer does. It
saves the way, not the work. The tag is weak: the answer may be compressed, and a cursor is sealed anew each
time though it means the same, so cursors are left out of it; not those of the log, which say how far it was
read.
"""

from hashlib import sha256

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from postroom.http.problems import path_of

CURSOR = b'"next":"'
"""A quote inside a text has a backslash before it, so this is a member of that name and nothing else."""
SEALED = b"."
"""Stands in every cursor that the vault has sealed, and in none of the log."""
TOLD = frozenset({"content-length", "content-type"})
"""What a 304 does not repeat: it has no content."""


def unchanged(etag: str, if_none_match: str | None) -> bool:
    """Whether whoever asks has it already (RFC 9110, 13.1.2)."""
    if if_none_match is None:
        return False
    known = [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
    return "*" in known or etag.removeprefix("W/") in known


def tag(body: bytes) -> str:
    """The tag of an answer in JSON."""
    digest, at = sha256(), body.rfind(CURSOR)
    if at >= 0:
        begin, end = at + len(CURSOR), body.index(b'"', at + len(CURSOR))
        if SEALED in body[begin:end]:
            digest.update(body[:at])
            body = body[end:]
    digest.update(body)
    return f'W/"{digest.hexdigest()[:32]}"'


class Tags:
    """Gives tags to the answers in JSON of GET below `/v1/`, and 304 to who has them."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or not path_of(scope).startswith("/v1/"):
            await self.app(scope, receive, send)
            return
        known = Headers(scope=scope).get("if-none-match")
        held: Message | None = None

        async def give(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and _can_have_one(message):
                held = message
                return
            if held is not None:
                start, held = held, None
                if not message.get("more_body"):
                    start, message = _tagged(start, message, known)
                await send(start)
            await send(message)

        await self.app(scope, receive, give)


def _can_have_one(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    is_json = headers.get("content-type", "") == "application/json"
    return start["status"] == 200 and is_json and "etag" not in headers


def _tagged(start: Message, body: Message, known: str | None) -> tuple[Message, Message]:
    """The two messages of an answer with its tag, or those of a 304."""
    etag = tag(body["body"])
    headers = MutableHeaders(raw=list(start["headers"]))
    headers["ETag"] = etag
    if not unchanged(etag, known):
        return {**start, "headers": headers.raw}, body
    kept = [(name, value) for name, value in headers.raw if name.decode() not in TOLD]
    return {**start, "status": 304, "headers": kept}, {**body, "body": b""}
