"""Which events are alerts, and which end them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from postroom.alerts.model import Entry
from postroom.alerts.rules import BEGINS, ENDS, changes
from postroom.events.model import Stream


@pytest.mark.parametrize("kind", sorted(BEGINS.keys() | ENDS.keys() | {"mail.added"}))
@pytest.mark.parametrize("data", [{}, {"unheard_of": "x"}])
def test_an_entry_of_another_shape_changes_nothing(kind: str, data: dict[str, Any]) -> None:
    assert list(changes(Entry(1, Stream(0), 1, datetime.now(UTC), kind, data))) == []
