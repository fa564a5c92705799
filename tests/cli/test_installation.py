"""What a command makes of its settings."""

from datetime import timedelta
from pathlib import Path

from postroom.cli.installation import opened
from postroom.cli.working import work_of
from postroom.settings import Settings
from postroom.sync.pace import Pace
from postroom.sync.workshop import Workshop


async def test_mailboxes_are_watched_at_the_pace_that_is_set(dsn: str, tmp_path: Path) -> None:
    settings = Settings(
        data=tmp_path / "data", database_url=dsn, watch_sweep_seconds=30, watch_silence_seconds=60
    )
    async with opened(settings) as house:
        work = work_of(house, Workshop(), lambda _: None)

    assert work.pace == Pace(swept=timedelta(seconds=30), silence=timedelta(minutes=1))
