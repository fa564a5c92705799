"""Tasks that run beside a block and end with it."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from types import TracebackType


class alone:
    """Raise the first failure of a block's tasks as it is, not inside the group that a TaskGroup makes of it.

    So that whoever wrote the block can catch what the block raises.
    """

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, BaseExceptionGroup):
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            raise error from error.__cause__  # and not in the context of the group


def require_uncancelled() -> None:
    """Raise `CancelledError` where this task was told to end, whatever came of that further in.

    A TaskGroup raises the failures of its tasks instead (before Python 3.13), other people's code whatever it
    likes, or nothing. Who runs for ever would take that for a failure, and go on for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


@asynccontextmanager
async def beside(*work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run `work` for as long as the block runs. The first failure of either ends the other, and is raised."""
    with alone():
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(task) for task in work]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
