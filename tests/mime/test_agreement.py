"""With the results that lie beside the mails of others we agree; `differences.md` explains the rest."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from mime.agreement import CORPORA, Result, results

DIFFERENCES = Path(__file__).with_name("differences.md")

pytestmark = pytest.mark.skipif(not CORPORA.exists(), reason="needs the shared corpora beside the project")


@pytest.fixture(scope="module")
def compared() -> Sequence[Result]:
    return list(results())


def explained() -> Iterator[tuple[str, str]]:
    """The mails and fields in the table."""
    for line in DIFFERENCES.read_text().splitlines():
        match line.strip("| ").split(" | "):
            case [places, fields, _] if places != "where":
                yield from ((place, field) for place in places.split(", ") for field in fields.split(", "))


def test_nearly_all_results_are_the_same(compared: Sequence[Result]) -> None:
    assert len(compared) > 3_500
    assert sum(result.agrees for result in compared) / len(compared) >= 0.98


def test_each_difference_is_explained_and_each_explanation_has_one(compared: Sequence[Result]) -> None:
    differences = {(result.where, result.field) for result in compared if not result.agrees}

    assert differences == set(explained())
