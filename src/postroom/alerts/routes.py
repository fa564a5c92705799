"""/v1/alerts: what somebody has to look at."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from postroom.accounts import store as accounts
from postroom.db.pool import Connection
from postroom.http.deps import AtDoor, Reader, Tx
from postroom.ids import TenantId

from . import store
from .model import Alert

router = APIRouter(prefix="/v1/alerts", tags=["alerts"])

LIST = "alerts"


class OperatorAlertOut(BaseModel):
    """Something that somebody has to look at, until it is over."""

    id: UUID
    kind: str = Field(description="Of the event that it began with.")
    account: UUID | None = Field(description="Whose it is; null: no account's.")
    subject: UUID = Field(
        description="The account, job or webhook that it is about, or the tenant whose log it is."
    )
    code: str | None = Field(description="Of the error, where the event says one.")
    opened_at: datetime
    closed_at: datetime | None = Field(description="Null: it is not over.")


class OperatorAlertPage(BaseModel):
    items: list[OperatorAlertOut]
    has_next: bool
    next: str | None = Field(description="The `cursor` of the next page.")


@router.get("")
async def list_alerts(
    caller: Reader,
    conn: Tx,
    door: AtDoor,
    open: Annotated[bool | None, Query(description="Whether it is not over yet; all without it.")] = None,
    account: UUID | None = None,
    page_size: Annotated[int, Query(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
) -> OperatorAlertPage:
    """Alerts, the latest first. What is over is kept for thirty days."""
    within = (await accounts.get(conn, caller.tenant, account)).id if account else None
    before = int(door.cursors.open(caller, LIST, cursor)[0]) if cursor is not None else None
    found = await store.page(
        conn, caller.tenant, limit=page_size + 1, before=before, account=within, is_open=open
    )
    following = None
    if len(found) > page_size:
        following = door.cursors.seal(caller, LIST, [found[page_size - 1].number])
    items = await _out(conn, caller.tenant, found[:page_size])
    return OperatorAlertPage(items=items, has_next=following is not None, next=following)


async def _out(conn: Connection, tenant: TenantId, alerts: Sequence[Alert]) -> list[OperatorAlertOut]:
    named = await accounts.public_ids(conn, tenant, [a.account for a in alerts if a.account is not None])
    return [
        OperatorAlertOut(
            id=alert.public_id,
            kind=alert.kind,
            account=None if alert.account is None else named.get(alert.account),
            subject=alert.subject,
            code=alert.code,
            opened_at=alert.opened_at,
            closed_at=alert.closed_at,
        )
        for alert in alerts
    ]
