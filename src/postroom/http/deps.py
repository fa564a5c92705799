"""What routes ask for: who is calling, a transaction bound to their tenant, cursors.

The application plugs a `Door` in; nothing here knows how callers are found or where the database is.
They are all `async`, though few of them wait: FastAPI runs any other in a thread, 0.1 ms each.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from postroom.db.places import Places
from postroom.db.pool import Connection, Database, Transactions
from postroom.errors import Broken, TryLater, Unauthenticated
from postroom.http import cookies
from postroom.http.caller import Caller, NoKey, Scope
from postroom.http.pages import Cursors
from postroom.http.rates import Rates
from postroom.http.streams import Streams

READERS = 4
"""Mails that are read anew at a time, three of one tenant. Threads are few; looking up names takes some."""

_bearer = HTTPBearer(
    auto_error=False, scheme_name="key", description="An API key, `pr_...`, or a token of an issuer"
)
_cookie = APIKeyCookie(name=cookies.NAME, auto_error=False, scheme_name="session")


class UnknownKey(Unauthenticated):
    code = "http.unknown_key"


def unknown_key() -> UnknownKey:
    return UnknownKey("This API key or session is unknown, revoked or expired.")


@dataclass(frozen=True, slots=True)
class Door:
    """What the application lends to all routes."""

    database: Database
    find_caller: Callable[[str], Awaitable[Caller | None]]
    cursors: Cursors
    streams: Streams
    origins: frozenset[str] = frozenset()  # whose pages may open a WebSocket
    is_behind_tls: bool = False  # people reach us over TLS, whatever arrives here
    rates: Rates = field(default_factory=lambda: Rates(0))
    readers: Places = field(default_factory=lambda: Places(READERS))

    async def caller_of(self, key: str) -> Caller:
        """Raises `UnknownKey`."""
        caller = await self.find_caller(key)
        if caller is None:
            raise unknown_key()
        return caller

    def data_of(self, caller: Caller) -> Transactions:
        """Where all that a caller asks for is read, as far as it is there for them.

        `database` itself is for what concerns no account, or one that was found here before.
        """
        return self.database.limited_to(caller.accounts)

    def is_secure(self, connection: HTTPConnection) -> bool:
        """Whether cookies go over TLS."""
        return self.is_behind_tls or connection.url.scheme in {"https", "wss"}

    def welcome(self, caller: Caller, key: str) -> Callable[[], Awaitable[bool]]:
        """Asks whether the caller may still read, for answers that go on for long."""

        async def is_welcome() -> bool:
            try:
                now = await self.streams.recalled(key, self.find_caller)
            except (Broken, TryLater):  # nobody can say, and nothing can be read either
                return True
            except Unauthenticated:
                return False
            if now is None or (now.tenant, now.accounts) != (caller.tenant, caller.accounts):
                return False
            return bool({Scope.READ, Scope.ADMIN} & now.scopes)

        return is_welcome


async def _door(request: Request) -> Door:
    door: Door = request.app.state.door
    return door


AtDoor = Annotated[Door, Depends(_door)]


async def _shown(
    request: Request,
    door: AtDoor,
    header: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    _: Annotated[str | None, Depends(_cookie)],
) -> str:
    """What the caller shows; the header goes before the cookie."""
    if header is not None:
        return header.credentials
    session = cookies.shown(request, is_secure=door.is_secure(request))
    if session is None:
        raise NoKey("Send an API key: `Authorization: Bearer pr_...`.")
    if request.method not in cookies.SAFE:
        cookies.check_same_origin(request.headers)
    return session


Shown = Annotated[str, Depends(_shown)]


async def _caller(request: Request, door: AtDoor, shown: Shown) -> Caller:
    caller = await door.caller_of(shown)
    door.rates.count(request, caller.who)
    return caller


AnyCaller = Annotated[Caller, Depends(_caller)]


async def count_unread(request: Request) -> None:
    """Count a request whose body could not be read: FastAPI does that before it asks who calls.

    Raises what that raises, and `TooManyRequests`.
    """
    door = await _door(request)
    await _caller(request, door, await _shown(request, door, await _bearer(request), None))


def _holder_of(scope: Scope) -> Callable[[Caller], Awaitable[Caller]]:
    async def holder(caller: AnyCaller) -> Caller:
        caller.require(scope)
        return caller

    return holder


Reader = Annotated[Caller, Depends(_holder_of(Scope.READ))]
Syncer = Annotated[Caller, Depends(_holder_of(Scope.SYNC))]
Admin = Annotated[Caller, Depends(_holder_of(Scope.ADMIN))]


async def _admin_of_all(caller: Admin) -> Caller:
    caller.require_all_accounts()
    return caller


AdminOfAll = Annotated[Caller, Depends(_admin_of_all)]
"""For what concerns the tenant and none of its accounts: a key that is limited to some may not."""


async def _reader_of_all(caller: Reader) -> Caller:
    caller.require_all_accounts()
    return caller


ReaderOfAll = Annotated[Caller, Depends(_reader_of_all)]
"""The same for who only reads."""
OF_ALL = (AdminOfAll, ReaderOfAll)
NEEDS = (
    *((Reader, Scope.READ), (ReaderOfAll, Scope.READ), (Syncer, Scope.SYNC)),
    *((Admin, Scope.ADMIN), (AdminOfAll, Scope.ADMIN)),
)
"""The scope that a route needs which asks for such a caller."""


async def _still_reader(door: AtDoor, caller: Reader, shown: Shown) -> Callable[[], Awaitable[bool]]:
    return door.welcome(caller, shown)


StillReader = Annotated[Callable[[], Awaitable[bool]], Depends(_still_reader)]
"""See `Door.welcome`."""


async def _transaction(door: AtDoor, caller: AnyCaller) -> AsyncIterator[Connection]:
    async with door.data_of(caller).transaction(caller.tenant) as conn:
        yield conn


Tx = Annotated[Connection, Depends(_transaction, scope="function")]
"""One transaction around the route's function, bound to what the caller may see; it has committed before the
answer is sent, and an error rolls it back. Not for answers that are streamed: a slow reader would hold it."""
