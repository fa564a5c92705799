"""Numbers of alerts for Prometheus."""

from collections.abc import Mapping

from postroom import telemetry
from postroom.db.gauges import Gauges

from . import store

Counted = tuple[Mapping[str, int], int]


def gauges() -> Gauges[Counted]:
    return Gauges("alerts", _clear, store.counted, _put)


def _clear() -> None:
    telemetry.ALERTS_OPEN.clear()
    telemetry.ALERTS_WAITING.set(float("nan"))


def _put(counted: Counted) -> None:
    found, waiting = counted
    for kind, number in found.items():
        telemetry.ALERTS_OPEN.labels(kind).set(number)
    telemetry.ALERTS_WAITING.set(waiting)
