"""The kept count of what was tried, in `docs/tally/fuzz.json`; it only grows."""

import json
from pathlib import Path

FILE = Path(__file__).parents[2] / "docs" / "tally" / "fuzz.json"


def add(what: str, tried: int, *, findings: int = 0, kept: int | None = None) -> int:
    """Add to the counts of what was tried; how often it was in all. `kept` is the corpus as it is now."""
    counts = json.loads(FILE.read_text()) if FILE.exists() else {}
    mine = counts.setdefault(what, {"tried": 0, "findings": 0})
    mine["tried"] += tried
    mine["findings"] += findings
    if kept is not None:
        mine["kept"] = kept
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(counts, indent=2, sort_keys=True) + "\n")
    return int(mine["tried"])
