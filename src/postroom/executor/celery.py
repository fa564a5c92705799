"""The Celery app: `celery -A postroom.executor.celery worker`, and the same with `beat` and `flower`.

Needs `pip install postroom[celery]`. docs/howto/run-with-celery.md has the commands, `tasks` how it works.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from postroom import telemetry
from postroom.db.embedded import running
from postroom.db.listen import open_hints
from postroom.db.pool import open_pool
from postroom.net.egress import Egress
from postroom.providers.registry import Registry
from postroom.settings import Settings
from postroom.sync.due import enqueue_due
from postroom.sync.perform import Means
from postroom.sync.run import Manner
from postroom.sync.workshop import Workshop
from postroom.vault import keys
from postroom.vault.model import Secret

from .duties import duties
from .handlers import Work, handlers
from .tasks import House, make_app


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[House]:
    """The installation of these settings, whose database `postroom serve` or another command has prepared."""
    telemetry.set_up()
    async with AsyncExitStack() as stack:
        url = settings.database_url
        if url is None:
            url = await stack.enter_async_context(running(settings.data))
        db = await stack.enter_async_context(open_pool(url))
        hints = await stack.enter_async_context(open_hints(db))
        given = settings.secret_key
        vault = keys.load(settings.data, Secret(given.get_secret_value()) if given else None)
        manner = Manner(grace=settings.sync_grace, pause=settings.login_pause)
        # One tenant, who owns this machine, as for the command line; mail is read in the process that syncs.
        means = Means(db, vault, Registry(Egress(private_allowed=True)), Workshop(), manner)
        work = Work(means, settings.sync_interval)
        due = partial(enqueue_due, db, work.every) if settings.email_sync_enabled else None
        yield House(db, hints, handlers(work), duties(work, polls=due is not None), due)


app = make_app(Settings().celery_broker_url, lambda: opened(Settings()))
