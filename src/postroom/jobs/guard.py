"""The wall around a job, a duty, an account's part of it, a webhook: a bug in one must stop no other."""

from collections.abc import Awaitable

from postroom.db.beside import require_uncancelled


async def failure_of(work: Awaitable[object]) -> Exception | None:
    """What it fails with, whatever that is; None: it came through. A cancellation is none, and ends us."""
    try:
        await work
    except Exception as error:  # noqa: BLE001  see above
        require_uncancelled()
        return error
    return None
