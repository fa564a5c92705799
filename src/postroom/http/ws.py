"""A WebSocket (RFC 6455) that tells what a source says, in messages of JSON, to a client that says one thing.

    client ─ {"key": ..., what it wants} ─▶ begin ─▶ source ─▶ messages ─▶ client

It ends as streams do (see `streams`), with a message that is a problem document where there is one, and with

    1001  the application stops: come again
    1008  the client did what it must not: no key or a wrong one, nonsense, more than one message
    1013  something of ours is in the way: come again a little later
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import orjson
from fastapi import WebSocket, WebSocketDisconnect
from fastapi.security.utils import get_authorization_scheme_param

from postroom import telemetry
from postroom.db.beside import beside
from postroom.errors import Broken, Forbidden, Invalid, PostroomError, TryLater
from postroom.http import cookies, problems
from postroom.http.caller import Caller, NoKey, Scope
from postroom.http.deps import Door
from postroom.http.streams import PATIENCE, Gone, Over, Slow, Source, Stopping, Telling, Waits

FIRST = timedelta(seconds=10)
"""How long a client may take to say what it wants."""
LARGEST = 8 << 10
"""Bytes of what a client says; the server that speaks the protocol cuts off who says more."""
AWAY, POLICY, LATER = 1001, 1008, 1013

log = telemetry.logger()


class BadOrigin(Forbidden):
    code = "http.bad_origin"


class BadMessage(Invalid):
    code = "http.bad_message"


class TooLate(Invalid):
    code = "http.first_message_missing"


class Interrupted(TryLater):
    code = "http.stream_interrupted"


Begin: TypeAlias = Callable[[Caller, Mapping[str, Any]], Awaitable[tuple[Source[str], Callable[[], str]]]]
"""Begins what the first message asks for: where the messages come from, and how a heartbeat looks."""


def message(type: str, data: Mapping[str, Any]) -> str:
    """One message as it travels."""
    return orjson.dumps({"type": type, **data}, default=str, option=orjson.OPT_UTC_Z).decode()


def heartbeat(**more: Any) -> str:
    return message("heartbeat", {"at": datetime.now(UTC), **more})


async def converse(socket: WebSocket, door: Door, begin: Begin, first: timedelta = FIRST) -> None:
    """All of a WebSocket, from its handshake to its end. A caller needs the scope `read`."""
    try:
        key = _shown(socket, door)
        caller = None if key is None else await door.caller_of(key)
        tenant = None if caller is None else caller.tenant
        door.streams.make_room(tenant)
    except PostroomError as error:
        await socket.send_denial_response(problems.of(error, None))
        return
    try:
        await socket.accept()
        with door.streams.entered(tenant) as waits:
            wanted = await _first(socket, waits, first)
        await _talk(socket, door, begin, key, wanted)
    except PostroomError as error:
        await _part(socket, LATER if isinstance(error, TryLater | Broken) else POLICY, error)
    except Stopping:
        await _part(socket, AWAY)
    except (Gone, Slow, WebSocketDisconnect) as error:
        log.debug("http.socket_left", why=type(error).__name__)


async def _talk(socket: WebSocket, door: Door, begin: Begin, key: str | None, wanted: dict[str, Any]) -> None:
    named = wanted.pop("key", None)
    key = named if key is None else key
    if not isinstance(key, str):
        raise NoKey("Send an API key as `key` of the first message, or in the header Authorization.")
    caller = await door.caller_of(key)
    door.rates.count(socket, caller.who)
    caller.require(Scope.READ)
    with door.streams.entered(caller.tenant) as waits:
        source, beat = await begin(caller, wanted)
        try:
            async with beside(_mind(socket)):
                telling = Telling(door.welcome(caller, key))
                over = await telling.tell(source, waits, lambda said: _give(socket, said), beat)
        finally:
            source.close()
    if over is Over.STOPPING:
        raise Stopping
    if over is Over.UNWELCOME:
        await door.caller_of(key)
        caller.require(Scope.READ)
    raise Interrupted("Come again with the last cursor.", wait=timedelta(seconds=1))


def _shown(socket: WebSocket, door: Door) -> str | None:
    """The key in the header, where a browser can put none, or our own page's session. Raises `BadOrigin`."""
    origin = socket.headers.get("origin")
    is_own = cookies.is_own(origin, socket.headers)
    if origin is not None and not is_own and not {origin, "*"} & door.origins:
        raise BadOrigin("Pages of this origin may not call the API; see POSTROOM_CORS_ORIGINS.")
    scheme, key = get_authorization_scheme_param(socket.headers.get("authorization"))
    if scheme.lower() == "bearer":
        return key
    return cookies.shown(socket, is_secure=door.is_secure(socket)) if is_own else None


async def _first(socket: WebSocket, waits: Waits, within: timedelta) -> dict[str, Any]:
    try:
        async with waits.until(asyncio.get_running_loop().time() + within.total_seconds()):
            said = await socket.receive()
    except TimeoutError as error:
        raise TooLate(f"Say within {within.total_seconds():.0f} seconds what you want.") from error
    if said["type"] == "websocket.disconnect":
        raise Gone
    try:
        found = orjson.loads(said.get("text") or "")
    except orjson.JSONDecodeError as error:
        raise BadMessage("The first message must be a JSON object, as text.") from error
    if not isinstance(found, dict):
        raise BadMessage("The first message must be a JSON object.")
    return found


async def _mind(socket: WebSocket) -> None:
    """Raises `Gone` when the client leaves, and `BadMessage` when it says one thing more."""
    said = await socket.receive()
    if said["type"] == "websocket.disconnect":
        raise Gone
    raise BadMessage("One message is all that a client says; to ask for something else, connect again.")


async def _give(socket: WebSocket, said: Sequence[str]) -> None:
    for one in said:
        await socket.send_text(one)


def _problem(error: PostroomError) -> dict[str, Any]:
    """Its own `type` only repeats the code."""
    return {name: value for name, value in problems.told(error, None).items() if name != "type"}


async def _part(socket: WebSocket, code: int, error: PostroomError | None = None) -> None:
    """Say why, as far as the client listens, and close."""
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            if error is not None:
                if isinstance(error, Broken):
                    log.error("http.broken", code=error.code, reason=error.message)
                await socket.send_text(message("error", _problem(error)))
            await socket.close(code)
    except (TimeoutError, WebSocketDisconnect):
        pass
