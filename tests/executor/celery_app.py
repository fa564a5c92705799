"""The Celery app of the tests: `celery -A executor.celery_app worker`."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from executor.work import HANDLERS

from postroom.db.listen import open_hints
from postroom.db.pool import open_pool
from postroom.executor.tasks import House, make_app


@asynccontextmanager
async def opening() -> AsyncIterator[House]:
    async with open_pool(os.environ["POSTROOM_DATABASE_URL"]) as db, open_hints(db) as hints:
        yield House(db, hints, HANDLERS)


app = make_app(os.environ.get("POSTROOM_CELERY_BROKER_URL", ""), opening)
app.conf.worker_soft_shutdown_timeout = 0.1
