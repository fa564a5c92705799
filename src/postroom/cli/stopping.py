"""Commands that run until they are told to stop."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@asynccontextmanager
async def until_stopped() -> AsyncIterator[None]:
    """SIGINT and SIGTERM end the block, whatever it is waiting for; that is no error."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    is_stopping = False

    def stop() -> None:
        nonlocal is_stopping
        is_stopping = True
        task.cancel()

    for number in SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        yield
    except asyncio.CancelledError:
        if not is_stopping:
            raise
        task.uncancel()
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
