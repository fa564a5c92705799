"""Answer a query: read it, look its names up, ask PostgreSQL, cut the answer into pages.

Results come in windows of the newest RANKED matches; inside a window the best come first, then the next
window follows. So everything can be reached, and ranking never reads more than a window. Where mails have to
be looked into to know whether they match, a window ends after LOOKED of them, however few did: its pages can
be short or empty, and the total is what was found until there.

The first page of a window finds out where it ends; the cursor keeps that, so that mail which comes while
somebody pages is neither in the way nor shown in between.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import asyncpg

from postroom.ids import AccountId, FolderId, MessageId, TenantId
from postroom.text.fold import fold

from . import store
from .compile import Names, compile_query
from .cursor import Cursor, decode, encode, fingerprint
from .highlight import terms
from .model import Position, Results
from .query import And, HasLabel, InAccount, InFolder, Node, Not, Or, parse

MAX_PAGE = 100


async def find(
    conn: asyncpg.Connection,
    tenant: TenantId,
    query: str,
    *,
    accounts: Sequence[AccountId] | None = None,
    limit: int = 25,
    cursor: str | None = None,
    now: datetime | None = None,
) -> Results:
    """A page of the mails that match `query`, in all accounts of the tenant or only in those given.

    `now` is what ages and `older:` count from, and its time zone the one of days; the time of the call in UTC
    by default. Raises BadQuery, BadCursor.
    """
    limit = max(1, min(limit, MAX_PAGE))
    search = fingerprint(tenant, query, accounts)
    place = None if cursor is None else decode(cursor, search)
    moment = place.anchor if place else now or datetime.now(UTC)
    if now is not None:
        moment = moment.astimezone(now.tzinfo)
    tree = parse(query, moment)
    compiled = compile_query(tree, tenant, accounts, await names(conn, tenant, tree))
    window = store.Window(moment, place.past, place.end, place.after) if place else store.Window(moment)
    page = await store.matches(conn, tenant, compiled, window, limit)
    told = _told(page, place)
    following = _following(page, window, told, limit)
    return Results(
        total=told.total,
        total_is_exact=told.is_exact,
        hits=page.hits,
        next=encode(following, search) if following else None,
        terms=terms(tree),
    )


async def find_first(conn: asyncpg.Connection, tenant: TenantId, query: str, limit: int) -> Results:
    """The first `limit` hits, for whoever cannot ask for a page after a short one."""
    results = await find(conn, tenant, query, limit=limit)
    while results.next and len(results.hits) < limit:
        missing = limit - len(results.hits)
        more = await find(conn, tenant, query, limit=missing, cursor=results.next)
        results = replace(more, hits=results.hits + more.hits)
    return results


@dataclass(frozen=True, slots=True)
class _Told:
    """What is known of all matches."""

    total: int
    is_exact: bool
    passed: int


def _told(page: store.Page, place: Cursor | None) -> _Told:
    """What was known before, and when it was not all, what this window adds to it on its first page."""
    if place is None:
        return _Told(min(page.matched, store.COUNTED), _is_all(page, page.matched), 0)
    if place.is_exact or place.after is not None:
        return _Told(place.total, place.is_exact, place.passed)
    found = place.passed + page.matched
    total = min(max(place.total, found), store.COUNTED)
    return _Told(total, _is_all(page, found), place.passed)


def _is_all(page: store.Page, found: int) -> bool:
    return found <= store.COUNTED and not page.is_cut


def _following(page: store.Page, window: store.Window, told: _Told, limit: int) -> Cursor | None:
    """Where the next page begins: behind the last hit, or in the next window when this one is read."""
    known = window.anchor, told.total, told.is_exact
    if len(page.hits) == limit:
        last, past = page.hits[-1], window.past or _above(page.newest)
        after = last.score, last.received_at, last.message
        return Cursor(*known, told.passed, past, page.end, after)
    if page.end is not None:
        return Cursor(*known, told.passed + page.ranked, page.end, None, None)
    return None


def _above(newest: Position | None) -> Position | None:
    """What comes later than the newest match would push others out of the first window."""
    return None if newest is None else (newest[0], MessageId(newest[1] + 1))


async def names(conn: asyncpg.Connection, tenant: TenantId, tree: Node) -> Names:
    """The folders and accounts that the query names."""
    named_folders, named_accounts = set(), set()
    todo = [tree]
    while todo:
        match todo.pop():
            case And(parts) | Or(parts):
                todo += parts
            case Not(part):
                todo.append(part)
            case InFolder(name) | HasLabel(name):
                named_folders.add(name)
            case InAccount(name):
                named_accounts.add(name)
            case _:
                pass
    folders = await store.folders(conn, tenant) if named_folders else []
    accounts = await store.accounts(conn, tenant) if named_accounts else []
    return Names(
        folders=matching_folders(named_folders, folders), accounts=matching_accounts(named_accounts, accounts)
    )


def matching_folders(names: Iterable[str], folders: Iterable[store.FolderName]) -> dict[str, list[FolderId]]:
    """Folders with this role, this path, or a path that ends with it; case and accents do not matter.

    Each path is folded once, and compared with those names only that end as it does: a query has room for
    hundreds of names, and a tenant may have thousands of folders.
    """
    whole: dict[str, list[FolderId]] = defaultdict(list)
    ending: dict[str, dict[str, list[tuple[str, FolderId]]]] = defaultdict(lambda: defaultdict(list))
    for folder in folders:
        path, delimiter = fold(folder.path), fold(folder.delimiter or "")
        whole[path].append(folder.id)
        if folder.role:
            whole[folder.role].append(folder.id)
        if delimiter:  # people write the hierarchy with a slash whatever it is
            path = path.replace(delimiter, "/")
            ending[delimiter][_last(path)].append((f"/{path}", folder.id))
    found = {}
    for name in names:
        wanted = fold(name).strip()
        ids = dict.fromkeys(whole.get(wanted, ()))
        for delimiter, by_last in ending.items():
            end = wanted.replace(delimiter, "/")
            ids |= {id: None for path, id in by_last.get(_last(end), ()) if path.endswith(f"/{end}")}
        found[name] = list(ids)
    return found


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def matching_accounts(
    names: Iterable[str], accounts: Iterable[tuple[AccountId, str]]
) -> dict[str, list[AccountId]]:
    """The account with this address, or else those whose address contains it."""
    folded = [(account, fold(address)) for account, address in accounts]
    found = {}
    for name in names:
        wanted = fold(name).strip()
        found[name] = [account for account, address in folded if address == wanted] or [
            account for account, address in folded if wanted and wanted in address
        ]
    return found
