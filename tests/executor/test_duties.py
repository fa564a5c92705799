"""What recurs in an installation."""

from datetime import timedelta

from sync.mailboxes import means

from postroom.db.pool import Database
from postroom.executor.duties import duties
from postroom.executor.handlers import Work


async def test_no_copy_is_stale_where_nobody_polls(db: Database) -> None:
    work = Work(means(db), timedelta(minutes=15))
    polling, asked = ({duty.name for duty in duties(work, polls=polls)} for polls in (True, False))

    assert polling - asked == {"accounts.stale", "sync.lapsed"}
