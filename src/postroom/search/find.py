"""Answer a query: read it, look its names up, ask PostgreSQL, cut the answer into pages.

Results come in windows of the newest RANKED matches; inside a window the best come first, then the next
window follows. So everything can be reached, and ranking never reads more than a window.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import asyncpg

from postroom.ids import AccountId, FolderId, TenantId
from postroom.text.fold import fold

from . import store
from .compile import Names, compile_query
from .cursor import Cursor, decode, encode, fingerprint
from .highlight import terms
from .model import Results
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
    window = store.Window(moment, place.past, place.after) if place else store.Window(moment)
    page = await store.matches(conn, tenant, compiled, window, limit)
    total = place.total if place else page.matched
    following = _following(page, window, total, limit)
    counted = store.counted(compiled)
    return Results(
        total=min(total, counted),
        total_is_exact=total <= counted,
        hits=page.hits,
        next=encode(following, search) if following else None,
        terms=terms(tree),
    )


def _following(page: store.Page, window: store.Window, total: int, limit: int) -> Cursor | None:
    """Where the next page begins: behind the last hit, or in the next window when this one is read."""
    if page.oldest is None:
        return None
    if len(page.hits) == limit:
        last = page.hits[-1]
        return Cursor(window.anchor, total, window.past, (last.score, last.received_at, last.message))
    if page.matched > store.RANKED:
        return Cursor(window.anchor, total, page.oldest, None)
    return None


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
        folders={name: matching_folders(name, folders) for name in named_folders},
        accounts={name: matching_accounts(name, accounts) for name in named_accounts},
    )


def matching_folders(name: str, folders: Iterable[store.FolderName]) -> list[FolderId]:
    """Folders with this role, this path, or a path that ends with it; case and accents do not matter."""
    wanted = fold(name).strip()
    return [folder.id for folder in folders if folder.role == wanted or _ends(folder, wanted)]


def _ends(folder: store.FolderName, wanted: str) -> bool:
    path = fold(folder.path)
    if path == wanted:
        return True
    if not folder.delimiter:
        return False
    # People write the hierarchy with a slash whatever the server's delimiter is.
    path, wanted = (text.replace(fold(folder.delimiter), "/") for text in (path, wanted))
    return path == wanted or path.endswith("/" + wanted)


def matching_accounts(name: str, accounts: Iterable[tuple[AccountId, str]]) -> list[AccountId]:
    """The account with this address, or else those whose address contains it."""
    wanted = fold(name).strip()
    folded = [(account, fold(address)) for account, address in accounts]
    return [account for account, address in folded if address == wanted] or [
        account for account, address in folded if wanted and wanted in address
    ]
