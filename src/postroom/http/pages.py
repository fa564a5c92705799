"""Pages of a list: by number, or by a cursor that says where the last one ended.

A cursor is sealed by the vault: callers can neither read positions out of it, which hold internal keys, nor
make one up. It is good for one list only, and for callers of one tenant who see the same accounts of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import Depends, Query

from postroom.errors import Invalid
from postroom.http.caller import Caller
from postroom.vault.model import Damaged, Slot, WrongKey
from postroom.vault.seal import Vault

LARGEST_PAGE = 100
DEEPEST = 50_000
"""Rows that page numbers reach; cursors go to the end of any list."""
COUNTED = 1_000
"""Totals are exact up to this; counting further would take longer than reading the page: 2 ms for 10,000."""


class BadCursor(Invalid):
    code = "http.bad_cursor"


class BadPage(Invalid):
    code = "http.bad_page"


class Cursors:
    """Seals and opens positions with the vault of the installation."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def seal(self, caller: Caller, of: str, position: Sequence[Any]) -> str:
        """The cursor of a position in the list `of`; the position is anything that JSON can hold."""
        return self._vault.seal(orjson.dumps(position), _slot(caller, of)).rstrip("=")

    def open(self, caller: Caller, of: str, cursor: str) -> list[Any]:
        """The position sealed in a cursor. Raises `BadCursor` unless it is of this list as they see it."""
        body = cursor.rpartition(".")[2]
        try:
            opened = self._vault.open(cursor + "=" * (-len(body) % 4), _slot(caller, of))
        except (Damaged, WrongKey) as error:
            raise BadCursor("This cursor does not belong to this list; begin without one.") from error
        position: list[Any] = orjson.loads(opened)
        return position


def _slot(caller: Caller, of: str) -> Slot:
    seen = "" if caller.accounts is None else f" of {sorted(caller.accounts)}"
    return Slot(caller.tenant, "", f"cursor {of}{seen}")


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of a list is asked for: after a cursor, or a page by number."""

    size: int
    page: int | None  # from 1; None with a cursor
    cursor: str | None

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.size if self.page else 0


async def _window(
    page: Annotated[
        int | None, Query(ge=1, le=DEEPEST, description="From 1; not together with `cursor`.")
    ] = None,
    page_size: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = 50,
    cursor: Annotated[
        str | None, Query(max_length=1000, description="`next` of the page before, as it was.")
    ] = None,
) -> Window:
    if cursor is not None:
        if page is not None:
            raise BadPage("Ask with `page` or with `cursor`, not with both.")
        return Window(page_size, None, cursor)
    window = Window(page_size, page or 1, None)
    if window.offset + page_size > DEEPEST:
        raise BadPage(f"Page numbers reach the first {DEEPEST:,} rows; read further with `cursor`.")
    return window


Asked = Annotated[Window, Depends(_window)]
