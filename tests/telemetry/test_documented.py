"""The reference of metrics lists what is printed, and nothing else."""

import re
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase
from servers.api import Client

from postroom import telemetry

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
ROW = re.compile(r"^\| `(postroom_\w+)(?:\{([\w,]+)\})?` \|", re.MULTILINE)
TYPE = re.compile(r"^# TYPE (postroom_\w+) ", re.MULTILINE)


def documented() -> dict[str, list[str]]:
    """Labels by name."""
    return {name: labels.split(",") if labels else [] for name, labels in ROW.findall(PAGE.read_text())}


async def test_the_reference_names_what_is_printed(stranger: Client) -> None:
    text = (await stranger.get("/metrics")).text

    assert {name for name in TYPE.findall(text) if not name.endswith("_created")} == set(documented())


def test_the_reference_names_their_labels() -> None:
    metrics = [each for each in vars(telemetry).values() if isinstance(each, MetricWrapperBase)]
    families = [(family, metric._labelnames) for metric in metrics for family in metric.describe()]
    page = {name.removesuffix("_total"): labels for name, labels in documented().items()}

    assert {each.name: list(labels) for each, labels in families} == page
