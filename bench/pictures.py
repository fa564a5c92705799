"""`python -m bench.pictures`: draw what `bench.sizes` and `bench.steps` measured. Needs the extra `bench`."""

import json
import statistics
from typing import Any

from matplotlib import pyplot as plt

from bench.sizes import BOTH, FIGURES, HERE, MIRROR, OURS

PROCESSES = ("postroom, reading", "postroom", "PostgreSQL", "mail server")


def draw(figures: dict[str, Any]) -> None:
    """The rate at each size, the processor time of a message by process, and its time by step."""
    _draw_sizes(figures)
    _draw_steps(figures["steps"]["messages"], figures["steps"]["seconds"])


def _draw_steps(messages: int, seconds: dict[str, float]) -> None:
    names = sorted(seconds, reverse=True)
    each = [1e6 * seconds[name] / messages for name in names]
    _, axes = plt.subplots(figsize=(7, 4))
    axes.bar_label(axes.barh(names, each), fmt="%.0f", padding=3)
    axes.set(xlabel="us a message, each step by itself", xmargin=0.1)
    plt.savefig(HERE / "first_sync_by_step.png", dpi=110, bbox_inches="tight")


def _draw_sizes(figures: dict[str, Any]) -> None:
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
