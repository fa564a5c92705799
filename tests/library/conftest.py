"""A ticket desk in a fresh database with two tenants."""

from collections.abc import AsyncIterator

import pytest
from library.desk import Desk, desk_of


@pytest.fixture
async def desk(dsn: str, tenants: None) -> AsyncIterator[Desk]:
    del tenants
    async with desk_of(dsn) as made:
        yield made
