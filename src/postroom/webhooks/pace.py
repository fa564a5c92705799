"""When to try again, and when to tell that a webhook fails. Pure."""

from dataclasses import dataclass
from datetime import timedelta

MOST_DOUBLINGS = 20


@dataclass(frozen=True, slots=True)
class Pace:
    first: timedelta = timedelta(seconds=5)  # at most, until the second attempt
    longest: timedelta = timedelta(hours=3)  # between two attempts, whatever the receiver asks for
    tell_after: timedelta = timedelta(minutes=1)  # of failing
    anew: timedelta = timedelta(minutes=1)  # at most, until a courier that stopped is followed by another
    look_every: timedelta = timedelta(seconds=5)  # for webhooks that are nobody's
    write_every: timedelta = timedelta(seconds=0.25)  # how far it has come: what a crash repeats

    def again_after(self, failures: int, asked: timedelta | None, luck: float) -> timedelta:
        """After so many failures in a row; `asked` is what the receiver asked for (Retry-After).

        With full jitter, `luck` in [0, 1): who failed together does not come again together.
        """
        doubled = self.first * (1 << min(max(failures, 1) - 1, MOST_DOUBLINGS))
        return min(max(min(doubled, self.longest) * luck, asked or timedelta()), self.longest)

    def anew_after(self, stops: int, luck: float) -> timedelta:
        """When couriers of one webhook have stopped so often, one after the other."""
        return min(self.again_after(stops, None, luck), self.anew * luck)
