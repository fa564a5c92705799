"""The tally: how much was proved so far, and what was found. Kept in a file, one table for each proof."""

import fcntl
import json
from collections.abc import Mapping
from pathlib import Path

FILE = Path(__file__).parents[2] / "docs" / "tally.json"


def add(proof: str, counts: Mapping[str, int], file: Path = FILE) -> dict[str, int]:
    """Add to a proof's counts and return them. Several processes may do so at once."""
    with file.open("a+") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        opened.seek(0)
        tally: dict[str, dict[str, int]] = json.loads(opened.read() or "{}")
        table = tally.setdefault(proof, {})
        for name, count in counts.items():
            table[name] = table.get(name, 0) + count
        opened.truncate(0)
        opened.write(json.dumps(tally, indent=2, sort_keys=True) + "\n")
    return table
