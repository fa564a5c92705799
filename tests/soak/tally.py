"""The counts of one long run, as they are added to the kept tally."""

from collections import Counter
from dataclasses import dataclass, field

WRONG = ("lost", "repeated", "invented", "wedged")


@dataclass(slots=True)
class Count:
    """One run. `faults` by their kind; `wrong` by what came of them."""

    faults: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    rounds: int = 0

    def table(self, minutes: int) -> dict[str, int]:
        """As it is kept: the sums, what went wrong, and each kind of fault beside them."""
        kinds = {kind.replace(" ", "_"): number for kind, number in self.faults.items()}
        wrong = {kind: self.wrong[kind] for kind in WRONG}
        return {"faults": self.faults.total(), "rounds": self.rounds, "minutes": minutes, **wrong, **kinds}
