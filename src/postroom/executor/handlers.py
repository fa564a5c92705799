"""What an executor can do: one line a room."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from postroom.alerts.tell import Telling
from postroom.jobs.attempt import Handler
from postroom.net.egress import Egress
from postroom.sync import jobs as sync
from postroom.sync.pace import Pace
from postroom.sync.perform import Means, Outcome
from postroom.vault.seal import Vault


def _nobody(_outcome: Outcome) -> None: ...


@dataclass(frozen=True, slots=True)
class Work:
    """What the rooms' jobs and duties need."""

    means: Means
    every: timedelta  # the poll interval of accounts without their own
    told: Callable[[Outcome], None] = _nobody  # hears of each sync that ended here
    pace: Pace = field(default_factory=Pace)  # of what is watched
    operator: Sequence[Telling] = ()  # how to tell whoever runs this
    keep_events: timedelta | None = None  # how long the log is kept; None: for ever
    allowed: Egress | None = None  # where webhooks may be; None: none are delivered here

    @property
    def vault(self) -> Vault:
        return self.means.vault


def handlers(work: Work) -> Mapping[str, Handler]:
    return {**sync.handlers(work.means, work.every, work.told)}
