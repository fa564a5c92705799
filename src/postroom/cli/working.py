"""The executor inside a command, which says what arrives."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from postroom.alerts.ways import ways
from postroom.cli.announcing import Announcer
from postroom.cli.installation import Installation
from postroom.cli.means import means_of
from postroom.cli.settled import settled
from postroom.db.beside import beside
from postroom.executor.handlers import Work
from postroom.executor.run import executing
from postroom.sync.pace import Pace
from postroom.sync.perform import Outcome
from postroom.sync.workshop import Workshop, workshop


def work_of(house: Installation, shop: Workshop, told: Callable[[Outcome], None]) -> Work:
    """What it takes to run jobs; `told` hears of each sync that ended in this process."""
    settings = house.settings
    pace = Pace(settings.watch_sweep, settings.watch_silence)
    return Work(
        means_of(house, shop),
        settings.sync_interval,
        told,
        pace,
        allowed=house.allowed,
        operator=ways(settings),
        keep_events=settings.events_keep,
    )


@asynccontextmanager
async def working(house: Installation, patience: timedelta) -> AsyncIterator[None]:
    """Run jobs and poll mailboxes while the block runs; at its end what runs may end within `patience`."""
    announcer, settings = Announcer(house), house.settings
    with workshop() as shop:
        async with (
            beside(announcer.run()),
            executing(
                work_of(house, shop, announcer.hear),
                house.hints,
                workers=settings.workers,
                patience=patience,
                polls=settings.email_sync_enabled,
            ),
        ):
            with settled():
                yield
