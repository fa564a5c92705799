"""GET /v1/search"""

import asyncio
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from postroom.http.answers import Ready
from postroom.http.asked import Text
from postroom.http.deps import AtDoor, Reader, Tx
from postroom.mail.answers import MessageOut, listed
from postroom.mail.reading import Row
from postroom.mail.store import read

from . import facets as facet
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


class AccountCount(BaseModel, from_attributes=True):
    id: UUID
    address: str
    count: int


class FolderCount(BaseModel, from_attributes=True):
    id: UUID
    account: UUID
    path: str
    role: str | None
    count: int


class SenderCount(BaseModel, from_attributes=True):
    address: str
    name: str = Field(description="As it was written last.")
    count: int


class MonthCount(BaseModel, from_attributes=True):
    month: str = Field(description="`2026-03`, in UTC.")
    count: int


class FacetsOut(BaseModel, from_attributes=True):
    """Null for those that were not asked for; up to 100 values each."""

    counted: int = Field(description="Matches that were looked at, the newest ones.")
    is_exact: bool = Field(description="False when there are more matches: each count may be too low.")
    accounts: list[AccountCount] | None
    folders: list[FolderCount] | None = Field(description="A mail counts in each folder that it lies in.")
    senders: list[SenderCount] | None
    months: list[MonthCount] | None = Field(description="When mail was received, the latest first.")


class SearchPage(BaseModel):
    items: list[HitOut]
    total: int
    total_is_exact: bool = Field(description="False when there are, or may be, more than `total`.")
    next: str | None = Field(
        description="The `cursor` of the next page; null at the end. Pages before can be short or empty."
    )
    facets: FacetsOut | None = Field(description="Of all matches, on whatever page. Null unless asked for.")


@router.get("", response_model=SearchPage)
async def search(
    caller: Reader,
    conn: Tx,
    door: AtDoor,
    q: Annotated[str, Query(max_length=MAX_LENGTH, description="See the reference of the query language.")],
    account: Annotated[UUID | None, Query(description="Only in this account.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 25,
    cursor: Annotated[str | None, Query(max_length=1000, description="`next` of the page before.")] = None,
    facets: Annotated[Text | None, Query(description="Any of account, folder, sender, month.")] = None,
) -> Ready:
    """Mail that answers the query: among the newest matches the best first, then older ones likewise."""
    tenant = caller.tenant
    wanted = None if facets is None else facet.read(facets)
    within = None if account is None else [await read.account(conn, tenant, account)]
    place: str | None = None if cursor is None else door.cursors.open(caller, LIST, cursor)[0]
    results = await find(conn, tenant, q, accounts=within, limit=limit, cursor=place)
    counts = None if wanted is None else await facet.count(conn, tenant, q, wanted, accounts=within)
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
            "next": None if results.next is None else door.cursors.seal(caller, LIST, [results.next]),
            "facets": None if counts is None else FacetsOut.model_validate(counts).model_dump(mode="json"),
        }
    )


def _hit(row: Row, text: str, score: float, terms: tuple[str, ...]) -> dict[str, object]:
    return {
        "message": listed(row),
        "score": score,
        "subject_html": mark(row.subject, find_matches(row.subject, terms)),
        "snippet_html": snippet(text, terms).html,
    }
