"""What the matches of a query have in common: how many are of which account, folder, sender and month.

Counted are the matches that the index finds, the newest ones up to the bound that totals have too: whether
these are all is told with the counts. It takes a second look at the index and a look at each mail counted,
so only who asks for it pays for it.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum

import asyncpg

from postroom.errors import Invalid
from postroom.ids import AccountId, TenantId

from . import store
from .compile import compile_query
from .find import names
from .model import Facets
from .query import parse


class Facet(StrEnum):
    ACCOUNT = "account"
    FOLDER = "folder"
    SENDER = "sender"
    MONTH = "month"


class UnknownFacet(Invalid):
    code = "search.unknown_facet"


def read(text: str) -> frozenset[Facet]:
    """The facets named in `text`, with commas between. Raises UnknownFacet."""
    wanted = [name.strip() for name in text.split(",")]
    for name in wanted:
        if name not in set(Facet):
            there = ", ".join(Facet)
            raise UnknownFacet(f"There is no facet {name!r}; there are {there}.", facets=list(Facet))
    return frozenset(map(Facet, wanted))


async def count(
    conn: asyncpg.Connection,
    tenant: TenantId,
    query: str,
    wanted: Collection[Facet],
    *,
    accounts: Sequence[AccountId] | None = None,
    now: datetime | None = None,
) -> Facets:
    """The facets of all that matches `query`, in all accounts or only in those given. Raises BadQuery.

    `now` is as for `find`.
    """
    moment = now or datetime.now(UTC)
    tree = parse(query, moment)
    compiled = compile_query(tree, tenant, accounts, await names(conn, tenant, tree))
    bound = store.COUNTED
    unranked = replace(compiled, words=None)
    page = await store.matches(conn, tenant, unranked, store.Window(moment), bound, ranked=bound)
    found = [hit.message for hit in page.hits]
    return Facets(
        counted=len(found),
        is_exact=page.matched <= len(found) and not page.is_cut,
        accounts=await store.of_accounts(conn, tenant, found) if Facet.ACCOUNT in wanted else None,
        folders=await store.of_folders(conn, tenant, found) if Facet.FOLDER in wanted else None,
        senders=await store.of_senders(conn, tenant, found) if Facet.SENDER in wanted else None,
        months=await store.of_months(conn, tenant, found) if Facet.MONTH in wanted else None,
    )
