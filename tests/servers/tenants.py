"""Two tenants, each with an account, for tests of what stands on them."""

import asyncpg
import pytest

from postroom.ids import AccountId, TenantId

ONE, TWO = TenantId(1), TenantId(2)
ANNS, BOBS = AccountId(1), AccountId(2)

MAKE = """
    INSERT INTO postroom.people_tenant (public_id, name)
    VALUES (gen_random_uuid(), 'one'), (gen_random_uuid(), 'two');
    INSERT INTO postroom.accounts_account (tenant_id, public_id, address, provider, settings)
    VALUES (1, gen_random_uuid(), 'ann@example.org', 'imap', '{}'),
           (2, gen_random_uuid(), 'bob@example.org', 'imap', '{}')
"""


@pytest.fixture
async def tenants(dsn: str) -> None:
    """Tenant ONE has account ANNS, tenant TWO has account BOBS. As a superuser: no wall is in the way."""
    conn = await asyncpg.connect(dsn)
    await conn.execute(MAKE)
    await conn.close()
