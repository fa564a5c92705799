"""`Postroom`: what an application holds of it.

    room = Postroom(database_url, secret_key=...)
    app = FastAPI(lifespan=room.lifespan)
    app.include_router(room.router, prefix="/mail")

    @room.on("mail.added")
    async def ticket(event, tx): ...

`docs/howto/embed.md` is the guide, `docs/reference/library.md` the reference.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Self, TypeVar
from uuid import UUID

import asyncpg
import httpx2
from fastapi import APIRouter
from starlette.types import ASGIApp, Receive, Scope, Send

from postroom.client import AsyncClient
from postroom.db.model import NotPermitted
from postroom.db.pool import SESSION, Database, connect
from postroom.events.wanted import Types
from postroom.http.caller import Caller
from postroom.http.problems import of
from postroom.ids import TenantId
from postroom.people import keys
from postroom.people import store as people
from postroom.settings import Settings

from . import store
from .handle import Do, Handler, Handling, Start, place_of
from .host import Host, Pool, host_of
from .house import House, opened
from .model import Handled, HandlerKnown, NotOpen, OtherDatabase, Unusable

NAME = re.compile(r"[a-z0-9_.-]{1,100}")
CONNECTIONS = 5  # of a pool of our own for handlers

D = TypeVar("D", bound=Do)
S = TypeVar("S", bound=Callable[[Any], Awaitable[object]])


class Postroom:
    """Postroom in this process, while it is entered: `async with room:`, or by `room.lifespan`.

    Without `database_url` it is the embedded PostgreSQL of the data folder, without `secret_key` the key in
    that folder, as for the command line. `session` is where handlers' transactions come from, an asyncpg
    pool, what gives one, or an `async_sessionmaker`; without it they are on connections of the URL's user.
    With `executor` jobs run and mailboxes are polled here, else by `postroom executor`. `settings` are those
    of the reference, in small letters.
    """

    def __init__(
        self,
        database_url: str | None = None,
        *,
        secret_key: str | None = None,
        session: Any = None,
        executor: bool = True,
        **settings: Any,
    ) -> None:
        given = {"database_url": database_url, "secret_key": secret_key, **settings}
        self._settings = Settings(**{name: value for name, value in given.items() if value is not None})
        self._session, self._executor = session, executor
        self._handlers: dict[str, Handler] = {}
        self._first: list[Callable[[Any], Awaitable[object]]] = []
        self._house: House | None = None
        self._http: httpx2.AsyncClient | None = None  # for our own calls, which nobody else can make
        self._outer: ASGIApp | None = None
        self._pool: asyncpg.Pool | None = None
        self._url: str | None = None
        self._stack = AsyncExitStack()
        self.router = APIRouter()
        """The whole API, for `include_router` with a prefix; also its documentation, at `/docs`."""
        self.router.mount("", self._answer)

    def on(
        self,
        *types: str,
        name: str | None = None,
        start: Start = "beginning",
        attempts: int = 10,
        seconds: float = 30,
    ) -> Callable[[D], D]:
        """Have a function called with each event of these types, and a transaction.

        Types are kinds, `mail.*` or `*`. How far it is, is remembered under its `name`, that of the function
        unless given: another name begins anew, at the `start` of the log, or with what comes now. An event
        may take so many `seconds`; one that fails `attempts` times in a row stops the handler. Raises
        `NoSuchType`, `HandlerKnown`, `Unusable`.
        """

        def register(do: D) -> D:
            called = name or do.__name__
            if not NAME.fullmatch(called):
                raise Unusable(f"Call a handler by small letters, digits, _, - and dots: {called[:100]!r}.")
            if called in self._handlers:
                raise HandlerKnown(f"There is a handler {called} already; give one of them another name.")
            limit = timedelta(seconds=seconds)
            self._handlers[called] = Handler(called, Types.read(types), do, start, attempts, limit)
            return do

        return register

    def at_start(self, do: S) -> S:
        """Have a function called with a transaction before anything is handled: to make tables.

        Of several processes one at a time does so.
        """
        self._first.append(do)
        return do

    @asynccontextmanager
    async def lifespan(self, _app: object) -> AsyncIterator[None]:
        """For `FastAPI(lifespan=room.lifespan)`. One of your own enters `async with room:` in it."""
        async with self:
            yield

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            house = await stack.enter_async_context(opened(self._settings))
            host = await self._opened_host(house, stack)
            stack.callback(self._leave)
            self._house, self._outer, self._http = house, house.app(), _own(house)
            stack.callback(self._outer.state.door.streams.end)
            await self._begin(host)
            if self._executor:
                await stack.enter_async_context(house.working())
            if self._handlers:
                await stack.enter_async_context(await self._handling(house, host))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._stack.__aexit__(*error)

    @property
    def pool(self) -> asyncpg.Pool:
        """The pool of handlers' connections where no `session` was given. Raises `NotOpen`."""
        if self._pool is None:
            raise _not_open()
        return self._pool

    @property
    def database_url(self) -> str:
        """For connections of the application's own, also to the embedded database. Raises `NotOpen`."""
        if self._url is None:
            raise _not_open()
        return self._url

    @property
    def tenant(self) -> UUID:
        """The tenant of an application that has one only, and of the command line. Raises `NotOpen`."""
        return self._open.public_id

    @property
    def client(self) -> AsyncClient:
        """All that the API can do, for that tenant, by the models of `postroom.client`; no network."""
        return self.client_of(self.tenant)

    def client_of(self, tenant: UUID) -> AsyncClient:
        """The same for another tenant. Calls raise `Unauthenticated` where there is none of this id."""
        if self._http is None:
            raise _not_open()
        return AsyncClient(key=str(tenant), http=self._http)

    async def tenant_named(self, name: str) -> UUID:
        """A tenant of the application's choosing, made at first use."""
        db = self._open.database
        async with db.unbound() as conn:
            tenant = await people.tenant_named(conn, name)
        async with db.transaction(tenant) as conn:
            return (await people.tenant_of(conn, tenant)).public_id

    async def handlers(self, tenant: UUID | None = None) -> list[Handled]:
        """How the handlers of a tenant do, by name; also those that this process does not have."""
        whose = tenant or self.tenant
        number = await self._number(whose)
        async with self._open.database.transaction(number) as conn:
            found = await store.all_of(conn, number)
        return [Handled(name, whose, failures, again, since) for name, failures, again, since in found]

    async def resume(self, name: str, tenant: UUID | None = None, *, start: Start | None = None) -> bool:
        """Let a handler that failed or stopped go on at once; False where it has not.

        With a `start` it goes on from there, be it stopped or not: it gets events again, or never.
        """
        number = await self._number(tenant or self.tenant)
        async with self._open.database.transaction(number) as conn:
            if start is not None:
                await store.move(conn, number, name, await place_of(conn, number, start))
            return await store.resume(conn, number, name)

    @property
    def _open(self) -> House:
        if self._house is None:
            raise _not_open()
        return self._house

    def _leave(self) -> None:
        self._house = self._outer = self._http = self._pool = self._url = None

    async def _opened_host(self, house: House, stack: AsyncExitStack) -> Host:
        self._url = await _url_of(house.dsn)
        if self._session is not None:
            return host_of(self._session)
        pool = await asyncpg.create_pool(self._url, min_size=0, max_size=CONNECTIONS)
        self._pool = await stack.enter_async_context(pool)
        return Pool(self._pool)

    async def _begin(self, host: Host) -> None:
        for do in self._first:
            async with host.transaction() as work:
                await store.lock_start(work)
                await do(work.given)
                await work.finish()

    async def _handling(self, house: House, host: Host) -> AbstractAsyncContextManager[None]:
        await _admit(house, host)
        async with house.database.unbound() as conn:
            await store.resume_all(conn, list(self._handlers))
        return Handling(house.database, house.hints, host, self._handlers).working()

    async def _number(self, tenant: UUID) -> TenantId:
        async with self._open.database.unbound() as conn:
            found = await store.tenant_called(conn, tenant)
        if found is None:
            raise Unusable(f"There is no tenant {tenant}.")
        return found

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._outer
        if app is None and scope["type"] == "http":
            app = of(_not_open(), None)
        if app is not None:
            await app(scope, receive, send)


def _own(house: House) -> httpx2.AsyncClient:
    """The API for our own calls, whose key is the id of a tenant. It is on no port and no route."""
    app = house.app(house.settings.model_copy(update={"rate_limit_per_minute": 0}))
    app.state.door = replace(app.state.door, find_caller=partial(_caller, house.database))
    transport = httpx2.ASGITransport(app)
    return httpx2.AsyncClient(transport=transport, base_url="http://room", trust_env=False)


async def _caller(database: Database, tenant: str) -> Caller | None:
    async with database.single() as conn:
        number = await store.tenant_called(conn, UUID(tenant))
    return None if number is None else Caller(number, None, keys.EVERYTHING)


async def _url_of(dsn: str) -> str:
    """The URL with which the application's tables do not come to lie among ours."""
    conn = await connect(dsn, {"application_name": "postroom"})
    try:
        if not await store.is_in_ours(conn):
            return dsn
    finally:
        await conn.close()
    return f"{dsn}{'&' if '?' in dsn else '?'}options=-csearch_path%3Dpublic"


async def _admit(house: House, host: Host) -> None:
    """See that the application's connections lead here, and let their role move handlers on.

    Raises `Unusable`, `OtherDatabase`, `NotPermitted`, whose message is what an administrator has to run, and
    what `connect` raises.
    """
    async with host.transaction() as work:
        theirs, role = await store.database_of(work), await store.who(work)
        if await store.is_in_ours(work):
            raise Unusable(
                f"Tables that {role} makes would lie in the schema postroom: set its search_path to public, "
                "or give the application a role of another name."
            )
    async with house.database.unbound() as conn:
        if await store.database_of(conn) != theirs:
            raise OtherDatabase("`session` leads to another database than `database_url`.")
        if await store.may_handle(conn, role):
            return
    owner = await connect(house.dsn, SESSION)
    try:
        with suppress(asyncpg.InsufficientPrivilegeError):
            await store.let_handle(owner, role)
        if not await store.may_handle(owner, role):  # who may not grant gets an error, or only a warning
            statements = await store.to_let_handle(owner, role)
            raise NotPermitted(
                f"The application's role {role} may not move handlers on; let an administrator run: "
                f"{'; '.join(statements)};",
                statements=statements,
            )
    finally:
        await owner.close()


def _not_open() -> NotOpen:
    return NotOpen("Postroom is not open here: `async with room:`, or `lifespan=room.lifespan`.")
