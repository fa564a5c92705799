"""GET /v1/people/…"""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field

from postroom.db.pool import Connection
from postroom.errors import PostroomError
from postroom.http import cookies
from postroom.http.asked import Body, Moment, Text
from postroom.http.caller import Person, Scope
from postroom.http.deps import AdminOfAll, AnyCaller, AtDoor, Tx, unknown_key
from postroom.http.page import page, refused
from postroom.ids import TenantId
from postroom.people import keys, sessions, store
from postroom.people.model import AlreadyOver, Key, NoSession, Role

router = APIRouter(prefix="/v1/people", tags=["people"])

MOST_ACCOUNTS = 100
"""To which a key can be limited: the log is read for each of them."""


class TenantOut(BaseModel):
    id: UUID
    name: str
    created_at: datetime


class KeyOut(BaseModel):
    id: UUID
    name: str
    start: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    accounts: list[UUID] | None = Field(
        description="All that it may see, without those that are gone. Null: the tenant's."
    )


class NewKeyOut(KeyOut):
    key: str
    """Shown this once."""


class KeyIn(Body):
    name: Annotated[Text, Field(max_length=200)]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))]
    expires_at: Moment | None = None
    accounts: Annotated[list[UUID], Field(min_length=1, max_length=MOST_ACCOUNTS)] | None = Field(
        None, description="The key sees these accounts and no others. Null: all, those of later too."
    )


class PersonOut(BaseModel):
    id: UUID
    name: str | None
    email: str | None
    role: Role
    since: datetime
    session: UUID | None


class SessionOut(BaseModel):
    id: UUID
    person: UUID
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None


class MeOut(BaseModel):
    tenant: TenantOut
    key: KeyOut | None
    person: PersonOut | None
    scopes: list[Scope]
    may_approve: bool


class KeysOut(BaseModel):
    keys: list[KeyOut]


class SessionsOut(BaseModel):
    sessions: list[SessionOut]


@router.get("/me")
async def get_me(caller: AnyCaller, door: AtDoor) -> MeOut:
    """Whose key this is, or who has signed in; and what they may do."""
    key = person = None
    async with door.database.transaction(caller.tenant) as conn:
        tenant = await store.tenant_of(conn, caller.tenant)
        if caller.key_id is not None:
            shown = await store.key(conn, caller.tenant, caller.key_id)
            if shown is None:  # it has just opened the door, was revoked, and is forgotten
                raise unknown_key()
            key = _key(shown)
        if caller.person is not None:
            person = await _person(conn, caller.tenant, caller.person)
    return MeOut(
        tenant=TenantOut(id=tenant.public_id, name=tenant.name, created_at=tenant.created_at),
        key=key,
        person=person,
        scopes=sorted(caller.scopes),
        may_approve=caller.may_approve,
    )


@router.get("/keys")
async def list_keys(caller: AdminOfAll, conn: Tx) -> KeysOut:
    """The keys of this tenant that are not revoked, the oldest first. Of each only how it begins is known."""
    found = [key for key in await store.keys(conn, caller.tenant) if key.revoked_at is None]
    return KeysOut(keys=[_key(key) for key in found])


@router.post("/keys", status_code=201)
async def make_key(caller: AdminOfAll, door: AtDoor, wanted: KeyIn) -> NewKeyOut:
    """Make a key. It is in this answer and can never be asked for again."""
    if wanted.expires_at is not None and wanted.expires_at <= datetime.now(UTC):
        raise AlreadyOver("A key must expire in the future.")
    made, text = await keys.create(
        door.database,
        caller.tenant,
        wanted.name,
        frozenset(wanted.scopes),
        wanted.expires_at,
        wanted.accounts,
    )
    return NewKeyOut(**_key(made).model_dump(), key=text)


@router.delete("/keys/{id}", status_code=204)
async def revoke_key(caller: AdminOfAll, door: AtDoor, id: UUID) -> Response:
    """End a key at once, and within seconds whatever stream it has opened."""
    await keys.revoke(door.database, caller.tenant, id)
    return Response(status_code=204)


@router.get("/sessions")
async def list_sessions(caller: AdminOfAll, conn: Tx) -> SessionsOut:
    """The sessions that `postroom login` has opened and that are not over, the oldest first."""
    found = await store.sessions(conn, caller.tenant)
    return SessionsOut(
        sessions=[
            SessionOut(
                id=session.public_id,
                person=session.person_id,
                created_at=session.created_at,
                expires_at=session.expires_at,
                last_used_at=session.last_used_at,
            )
            for session in found
        ]
    )


@router.delete("/sessions/{id}", status_code=204)
async def revoke_session(caller: AdminOfAll, door: AtDoor, id: UUID) -> Response:
    """End somebody's session at once."""
    await sessions.revoke(door.database, caller.tenant, id)
    return Response(status_code=204)


@router.delete("/session", status_code=204)
async def sign_out(caller: AnyCaller, door: AtDoor, request: Request) -> Response:
    """End the session that asks this, and have the browser forget it."""
    if caller.person is None or caller.person.session is None:
        raise NoSession("There is no session of ours to end; a key is revoked, a token ends at its issuer.")
    await sessions.revoke(door.database, caller.tenant, caller.person.session)
    answer = Response(status_code=204)
    cookies.take(answer, is_secure=door.is_secure(request))
    return answer


@router.get("/login", include_in_schema=False)
async def ask() -> Response:
    """Uses nothing up: who looks at a link for somebody else, as programs do, must not spend it."""
    return page("Postroom", "This link signs this browser in, once.", button="Sign in")


@router.post("/login", include_in_schema=False)
async def sign_in(
    door: AtDoor, request: Request, link: Annotated[str, Query(max_length=100)] = ""
) -> Response:
    """Use a link up, and give the browser a session, instead of the one that it may have."""
    is_secure = door.is_secure(request)
    try:
        cookies.check_same_origin(request.headers)
        text = await sessions.open_session(
            door.database, link, former=cookies.shown(request, is_secure=is_secure)
        )
    except PostroomError as error:
        return refused("This signs nobody in", error, request)
    answer = RedirectResponse("../../docs", status_code=303)
    cookies.give(answer, text, sessions.LIFE, is_secure=is_secure)
    return answer


async def _person(conn: Connection, tenant: TenantId, person: Person) -> PersonOut:
    found = await store.member(conn, tenant, person.id)
    assert found is not None  # who comes is a member from then on
    return PersonOut(
        id=found.public_id,
        name=found.name,
        email=found.email,
        role=Role(person.role),
        since=found.since,
        session=person.session,
    )


def _key(key: Key) -> KeyOut:
    return KeyOut(
        id=key.public_id,
        name=key.name,
        start=key.start,
        scopes=sorted(key.scopes),
        created_at=key.created_at,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
        accounts=None if key.accounts is None else list(key.accounts),
    )
