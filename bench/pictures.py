"""`python -m bench.pictures`: draw what `bench.sizes` measured. Needs the extra `bench`."""

import json
import statistics
from typing import Any

from matplotlib import pyplot as plt

from bench.sizes import BOTH, FIGURES, HERE, MIRROR, OURS

PROCESSES = ("postroom, reading", "postroom", "PostgreSQL", "mail server")


def draw(figures: dict[str, Any]) -> None:
    """Two pictures: the rate at each size, and the processor time of a message by process."""
    sizes = list(map(int, figures["sizes"]))
    _, axes = plt.subplots(figsize=(7, 4))
    for name in (OURS, MIRROR, BOTH):
        rates = [size / statistics.median(figures["sizes"][str(size)]["seconds"][name]) for size in sizes]
        axes.plot(sizes, rates, marker="o", label=name)
    axes.set(xscale="log", xlabel="messages in the mailbox", ylabel="messages a second", ylim=(0, None))
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.legend()
    plt.savefig(HERE / "first_sync_by_size.png", dpi=110, bbox_inches="tight")

    _, axes = plt.subplots(figsize=(7, 4))
    bottom = [0.0] * len(sizes)
    spent = [figures["sizes"][str(size)]["spent"] for size in sizes]
    for name in PROCESSES:
        shares = [
            1e6 * statistics.median(run.get(name, 0.0) for run in runs) / size
            for size, runs in zip(sizes, spent, strict=True)
        ]
        axes.bar([f"{size:,}" for size in sizes], shares, bottom=bottom, label=name)
        bottom = [below + share for below, share in zip(bottom, shares, strict=True)]
    axes.set(xlabel="messages in the mailbox", ylabel="us of processor time a message")
    axes.legend()
    plt.savefig(HERE / "first_sync_by_process.png", dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    plt.switch_backend("Agg")
    draw(json.loads(FIGURES.read_text()))
