"""Scenarios that have to wait for something, and for what."""

from crash.bench import Mode
from crash.language import Scenario

WAITING: dict[str, str] = {}


def waits(scenario: Scenario, mode: Mode) -> str | None:
    """The reason; None when the scenario is to be run."""
    del mode
    return WAITING.get(scenario.name)
