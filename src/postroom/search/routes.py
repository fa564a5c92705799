"""GET /v1/search"""

import asyncio
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel

from postroom.http.deps import AtDoor, Reader, Tx

from . import store
from .find import MAX_PAGE, find
from .highlight import find_matches, mark, snippet
from .query import MAX_LENGTH

router = APIRouter(prefix="/v1/search", tags=["search"])

LIST = "search"
"""What this list's cursors are sealed for."""


class FoundOut(BaseModel):
    id: UUID
    account_id: UUID
    thread_id: UUID
    subject: str
    sender_name: str
    sender_address: str
    received_at: datetime
    preview: str
    seen: bool
    flagged: bool
    answered: bool
    attachments: int
    score: float
    subject_html: str
    """The subject, escaped, with what was searched for in `<mark>`."""
    snippet_html: str
    """The best stretch of the text, likewise."""


class SearchPage(BaseModel):
    items: list[FoundOut]
    total: int
    total_is_exact: bool
    """False: there are more than `total`."""
    next: str | None


@router.get("")
async def search(
    caller: Reader,
    conn: Tx,
    door: AtDoor,
    q: Annotated[str, Query(max_length=MAX_LENGTH, description="See the reference of the query language.")],
    account: Annotated[
        list[UUID] | None, Query(max_length=100, description="Only in these accounts.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 25,
    cursor: Annotated[str | None, Query(max_length=1000, description="`next` of the page before.")] = None,
) -> SearchPage:
    """Mail that answers the query: among the newest matches the best first, then older ones likewise."""
    within = None if account is None else await store.account_ids(conn, caller.tenant, account)
    place: str | None = None if cursor is None else door.cursors.open(caller.tenant, LIST, cursor)[0]
    results = await find(conn, caller.tenant, q, accounts=within, limit=limit, cursor=place)
    shown = await store.summaries(conn, caller.tenant, [hit.message for hit in results.hits])
    scored = [(shown[hit.message], hit.score) for hit in results.hits if hit.message in shown]
    return SearchPage(
        items=await asyncio.to_thread(lambda: [_shown(mail, score, results.terms) for mail, score in scored]),
        total=results.total,
        total_is_exact=results.total_is_exact,
        next=None if results.next is None else door.cursors.seal(caller.tenant, LIST, [results.next]),
    )


def _shown(mail: store.Summary, score: float, terms: tuple[str, ...]) -> FoundOut:
    return FoundOut(
        id=mail.public_id,
        account_id=mail.account,
        thread_id=mail.thread,
        subject=mail.subject,
        sender_name=mail.sender_name,
        sender_address=mail.sender_address,
        received_at=mail.received_at,
        preview=mail.preview,
        seen=mail.seen,
        flagged=mail.flagged,
        answered=mail.answered,
        attachments=mail.attachments,
        score=score,
        subject_html=mark(mail.subject, find_matches(mail.subject, terms)),
        snippet_html=snippet(mail.body, terms).html,
    )
