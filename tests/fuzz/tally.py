"""The kept count of what was tried, in `docs/tally/fuzz.json`; it only grows."""

import json
from pathlib import Path

FILE = Path(__file__).parents[2] / "docs" / "tally" / "fuzz.json"


def add(target: str, *, executions: int, findings: int, corpus: int) -> int:
    """Add to a target's counts; how many inputs were tried in all. `corpus` is how many are kept now."""
    counts = json.loads(FILE.read_text()) if FILE.exists() else {}
    mine = counts.setdefault(target, {"executions": 0, "findings": 0, "corpus": 0})
    mine["executions"] += executions
    mine["findings"] += findings
    mine["corpus"] = corpus
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(counts, indent=2, sort_keys=True) + "\n")
    return int(mine["executions"])
