"""A process with postroom's own executor: `python -m executor.plain`, until SIGTERM."""

import asyncio
import os
import signal
from datetime import timedelta

from executor.work import HANDLERS

from postroom.db.listen import open_hints
from postroom.db.pool import open_pool
from postroom.jobs.run import Executor


async def main() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with (
        open_pool(os.environ["POSTROOM_DATABASE_URL"]) as db,
        open_hints(db) as hints,
        Executor(db, hints, HANDLERS, workers=2).working(timedelta()),
    ):
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
