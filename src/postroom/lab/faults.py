"""The switches of one server, and what each has counted.

The server asks `active` at the place where a fault acts, `first` where it acts once in the life of the
server, `turn` where it acts on some calls. What there is stands in the table of `switches`.
"""

from collections import Counter
from collections.abc import Iterable

from postroom.lab.switches import FAULTS, Fault

__all__ = ["FAULTS", "Fault", "Faults", "UnknownFault"]


class UnknownFault(Exception):
    """There is no fault of that name; the text lists those that there are."""


class Faults:
    """The switches of one server. May be changed while it runs."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._active: set[str] = set()
        self._asked: Counter[str] = Counter()
        self.switch_on(*names)

    def switch_on(self, *names: str) -> None:
        """Raises UnknownFault."""
        for name in names:
            if name not in FAULTS:
                raise UnknownFault(f"no fault {name!r}; there are {', '.join(sorted(FAULTS))}")
        self._active.update(names)

    def switch_off(self, *names: str) -> None:
        """The server behaves again; what a fault has counted is forgotten."""
        self._active.difference_update(names)
        for key in [key for key in self._asked if key.split(":")[0] in names]:
            del self._asked[key]

    def active(self, name: str) -> bool:
        """Whether the fault is switched on."""
        return name in self._active

    def among(self, names: Iterable[str]) -> list[str]:
        """Those that are switched on, in the order of `names`."""
        return [name for name in names if name in self._active] if self._active else []

    def turn(self, name: str, about: str = "") -> int:
        """How often an active fault was asked about one thing, this time included; 0 when it is off."""
        if name not in self._active:
            return 0
        self._asked[f"{name}:{about}"] += 1
        return self._asked[f"{name}:{about}"]

    def first(self, name: str, about: str = "") -> bool:
        """Whether the fault is on and acts for the first time."""
        return self.turn(name, about) == 1
