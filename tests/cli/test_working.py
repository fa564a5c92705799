"""The executor inside a command."""

from dataclasses import replace
from datetime import timedelta

import pytest

from postroom.cli.given import read_settings
from postroom.cli.installation import Installation
from postroom.cli.working import work_of
from postroom.sync.pace import Pace
from postroom.sync.workshop import Workshop

pytestmark = pytest.mark.usefixtures("tenants")


def test_mailboxes_are_watched_at_the_pace_that_is_set(house: Installation) -> None:
    settings = read_settings(house.data, None, watch_sweep_seconds=30, watch_silence_seconds=60)

    work = work_of(replace(house, settings=settings), Workshop(), lambda _: None)

    assert work.pace == Pace(swept=timedelta(seconds=30), silence=timedelta(minutes=1))
