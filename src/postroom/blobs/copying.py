"""COPY rows into a table, and notice when the connection is lost meanwhile.

asyncpg waits for ever where the server had stopped reading before it was lost: what says that it reads
again never comes.
"""

import asyncio
from collections.abc import Iterable, Sequence

from asyncpg import Connection
from asyncpg.exceptions import ConnectionDoesNotExistError


async def copy_rows(
    conn: Connection, table: str, columns: Sequence[str], rows: Iterable[tuple[object, ...]]
) -> None:
    """Raises what asyncpg raises, `ConnectionDoesNotExistError` when the connection is lost."""
    lost = asyncio.get_running_loop().create_future()

    def tell(_: object) -> None:
        if not lost.done():
            lost.set_result(None)

    conn.add_termination_listener(tell)
    copying = asyncio.ensure_future(conn.copy_records_to_table(table, records=rows, columns=columns))
    try:
        await asyncio.wait((copying, lost), return_when=asyncio.FIRST_COMPLETED)
        if not copying.done():
            raise ConnectionDoesNotExistError("the connection was lost in the middle of a COPY")
        await copying
    finally:
        conn.remove_termination_listener(tell)
        if not copying.done():
            copying.cancel()
            await asyncio.gather(copying, return_exceptions=True)  # it fails once more, at telling the server
