"""Scenarios that have to wait for something, and for what."""

from crash.language import Scenario
from crash.trial import Mode

AWAY_AND_BACK = "mail that left a folder and came back before it was looked for gets another id"
WAITING = {
    "remove: and the same bytes come again": AWAY_AND_BACK,
    "move: and back": AWAY_AND_BACK,
    "move: and back with a flag": AWAY_AND_BACK,
    "move: and back, all of them": AWAY_AND_BACK,
    "move: into a new folder, and back": AWAY_AND_BACK,
    "move: and a copy of it comes": AWAY_AND_BACK,
    "move INBOX a -> Work: meanwhile move Work a -> INBOX": AWAY_AND_BACK,
    "move INBOX a -> Work: meanwhile move Work a -> Archive": AWAY_AND_BACK,
    "create New; move INBOX a -> New: meanwhile move New a -> INBOX; delete New": AWAY_AND_BACK,
    "backwards: after move INBOX a -> Work; move Work a -> INBOX": AWAY_AND_BACK,
    "backwards: before move INBOX a -> Work; move Work a -> INBOX": AWAY_AND_BACK,
}


def waits(scenario: Scenario, mode: Mode) -> str | None:
    """The reason; None when the scenario is to be run."""
    del mode
    return WAITING.get(scenario.name)
