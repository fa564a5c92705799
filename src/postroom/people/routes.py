"""GET /v1/people/…"""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel

from postroom.http.caller import Scope
from postroom.http.deps import AnyCaller, Tx
from postroom.people import store

router = APIRouter(prefix="/v1/people", tags=["people"])


class TenantOut(BaseModel, from_attributes=True):
    id: UUID
    name: str
    created_at: datetime


class KeyOut(BaseModel, from_attributes=True):
    id: UUID
    name: str
    start: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class MeOut(BaseModel):
    tenant: TenantOut
    key: KeyOut


@router.get("/me")
async def me(caller: AnyCaller, conn: Tx) -> MeOut:
    """Whose key this is, and what it may do."""
    tenant = await store.tenant_of(conn, caller.tenant)
    key = await store.key(conn, caller.tenant, caller.key_id)
    assert key is not None  # it has just opened the door; keys are never deleted alone
    return MeOut(
        tenant=TenantOut(id=tenant.public_id, name=tenant.name, created_at=tenant.created_at),
        key=KeyOut(
            id=key.public_id,
            name=key.name,
            start=key.start,
            scopes=sorted(key.scopes),
            created_at=key.created_at,
            expires_at=key.expires_at,
            last_used_at=key.last_used_at,
        ),
    )
