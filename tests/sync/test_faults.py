"""A sync against everything that servers were seen to do wrong, one fault at a time."""

import pytest
from sync.lies import OF_GMAIL, Trial, survive

from postroom.db.pool import Database
from postroom.lab.certificate import Certificate
from postroom.lab.faults import FAULTS
from postroom.lab.switches import CHANGES, FETCHES, MAILS

pytestmark = pytest.mark.usefixtures("tenants")

LEISURELY = {fault.name for group in (CHANGES, FETCHES, MAILS) for fault in group}
QUICK = [name for name in FAULTS if name not in LEISURELY]
OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in sorted(LEISURELY)]


def offers(fault: str) -> tuple[str, ...]:
    return ("objectid", "gmail") if fault in OF_GMAIL else ()


@pytest.mark.parametrize("fault", [*QUICK, *OTHERS])
async def test_a_first_sync_stores_nothing_wrong_and_the_next_ones_all_of_it(
    fault: str, db: Database, certificate: Certificate
) -> None:
    await survive(db, certificate, Trial((fault,), offers(fault)))


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_copy_loses_nothing_to_a_server_that_begins_to_fail(
    fault: str, db: Database, certificate: Certificate
) -> None:
    await survive(db, certificate, Trial((fault,), offers(fault), from_the_first=False))
