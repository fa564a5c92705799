"""What the tests of this room share."""

import pytest
from servers.tenants import ONE, TWO

from postroom.db.pool import Database
from postroom.lab.certificate import Certificate, make_certificate


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("lab"))


@pytest.fixture
async def alone(db: Database) -> None:
    """The accounts that other tests look at have no server."""
    for tenant in (ONE, TWO):
        async with db.transaction(tenant) as conn:
            await conn.execute("UPDATE accounts_account SET state = 'paused'")
