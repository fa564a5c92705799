"""Tasks that run beside a block and end with it."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager


@asynccontextmanager
async def beside(*work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run `work` for as long as the block runs; a failure of either cancels the other.

    The first failure is raised as it is, not inside the ExceptionGroup that a TaskGroup makes of it, so
    that whoever wrote the block can catch what the block raises.
    """
    failure: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(task) for task in work]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
    except BaseExceptionGroup as failed:
        failure = failed.exceptions[0]
    if failure is not None:
        raise failure
