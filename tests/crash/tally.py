"""The tally of a proof, in `docs/tally`: how much was tried so far, and what was found. It only grows."""

import fcntl
import json
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "tally"


def add(proof: str, counts: Mapping[str, int], folder: Path = FOLDER) -> dict[str, int]:
    """Add to a proof's counts and return them. Several processes may do so at once."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{proof}.json").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        tally: dict[str, int] = json.loads(file.read() or "{}")
        for name, count in counts.items():
            tally[name] = tally.get(name, 0) + count
        file.truncate(0)
        file.write(json.dumps(tally, indent=2, sort_keys=True) + "\n")
    return tally
