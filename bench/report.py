"""Tables of figures, and what a figure is worth."""

import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Table:
    title: str
    heads: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        self.rows.append(cells)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def __str__(self) -> str:
        lines = ["| " + " | ".join(row) + " |" for row in (self.heads, ["---"] * len(self.heads), *self.rows)]
        return "\n".join([f"### {self.title}", "", *lines, "", *self.notes, ""])


def ratio(value: float, *, goal: float) -> str:
    """A ratio beside its goal."""
    return f"{value:.2f} (goal {goal:g}, {'reached' if value >= goal else 'missed'})"


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median, and the least and most beside it."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def machine() -> str:
    with open("/proc/cpuinfo") as info:
        model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), "?")
        info.seek(0)
        cores = sum(line.startswith("processor") for line in info)
    system = f"Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"
    return f"{cores} cores of {model}, {system}"
