"""GET /v1/search"""

import asyncio
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from postroom.http.answers import Ready
from postroom.http.deps import AtDoor, Reader, Tx
from postroom.mail.answers import MessageOut, listed
from postroom.mail.reading import Row
from postroom.mail.store import read

from . import store
from .find import MAX_PAGE, find
from .highlight import find_matches, mark, snippet
from .query import MAX_LENGTH

router = APIRouter(prefix="/v1/search", tags=["search"])

LIST = "search"
"""What this list's cursors are sealed for."""


class HitOut(BaseModel):
    message: MessageOut
    score: float = Field(description="Higher is better; only to compare hits of one search.")
    subject_html: str = Field(description="The subject, escaped, with what was searched for in `<mark>`.")
    snippet_html: str = Field(description="The best stretch of the text, likewise.")


class SearchPage(BaseModel):
    items: list[HitOut]
    total: int
    total_is_exact: bool = Field(description="False when there are, or may be, more than `total`.")
    next: str | None = Field(
        description="The `cursor` of the next page; null at the end. Pages before can be short or empty."
    )


@router.get("", response_model=SearchPage)
async def search(
    caller: Reader,
    conn: Tx,
    door: AtDoor,
    q: Annotated[str, Query(max_length=MAX_LENGTH, description="See the reference of the query language.")],
    account: Annotated[UUID | None, Query(description="Only in this account.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 25,
    cursor: Annotated[str | None, Query(max_length=1000, description="`next` of the page before.")] = None,
) -> Ready:
    """Mail that answers the query: among the newest matches the best first, then older ones likewise."""
    tenant = caller.tenant
    within = None if account is None else [await read.account(conn, tenant, account)]
    place: str | None = None if cursor is None else door.cursors.open(tenant, LIST, cursor)[0]
    results = await find(conn, tenant, q, accounts=within, limit=limit, cursor=place)
    numbers = [hit.message for hit in results.hits]
    rows = await read.rows(conn, tenant, numbers)
    texts = await store.texts(conn, tenant, numbers)
    scores = {hit.message: hit.score for hit in results.hits}
    shown = [(row, texts.get(row.number, ""), scores[row.number]) for row in rows]
    return Ready(
        {
            "items": await asyncio.to_thread(lambda: [_hit(*hit, results.terms) for hit in shown]),
            "total": results.total,
            "total_is_exact": results.total_is_exact,
            "next": None if results.next is None else door.cursors.seal(tenant, LIST, [results.next]),
        }
    )


def _hit(row: Row, text: str, score: float, terms: tuple[str, ...]) -> dict[str, object]:
    return {
        "message": listed(row),
        "score": score,
        "subject_html": mark(row.subject, find_matches(row.subject, terms)),
        "snippet_html": snippet(text, terms).html,
    }
