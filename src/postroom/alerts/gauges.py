"""Numbers of alerts for Prometheus: of the whole installation, and nothing of any tenant."""

import asyncio
from datetime import timedelta

from postroom import telemetry
from postroom.db.pool import Database
from postroom.errors import PostroomError

from . import store

AGE = timedelta(seconds=5)
"""How old the numbers may be: whoever asks without end does not keep the database busy."""
PATIENCE = timedelta(seconds=2)


class Gauges:
    """Sets the gauges in `telemetry`; those of a database that does not answer have no values."""

    def __init__(self, age: timedelta = AGE) -> None:
        self._age = age.total_seconds()
        self._good_until = 0.0
        self._one = asyncio.Lock()

    async def refresh(self, db: Database) -> None:
        now = asyncio.get_running_loop().time
        async with self._one:
            if now() < self._good_until:
                return
            telemetry.ALERTS_OPEN.clear()
            telemetry.ALERTS_WAITING.set(float("nan"))
            try:
                async with asyncio.timeout(PATIENCE.total_seconds()), db.unbound() as conn:
                    found, waiting = await store.counted(conn)
            except (PostroomError, TimeoutError) as error:
                telemetry.logger().warning("alerts.not_counted", reason=type(error).__name__)
            else:
                for kind, number in found.items():
                    telemetry.ALERTS_OPEN.labels(kind).set(number)
                telemetry.ALERTS_WAITING.set(waiting)
            self._good_until = now() + self._age
