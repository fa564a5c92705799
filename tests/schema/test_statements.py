"""PostgreSQL itself checks every SQL constant of the package against the migrated schema."""

import importlib
import pkgutil
import re
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from servers.postgres import copied

import postroom
from postroom.db.pool import Database, open_pool

STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|MERGE)\b")


def statements() -> Iterator[tuple[str, str]]:
    for module in pkgutil.walk_packages(postroom.__path__, "postroom."):
        if module.name.rpartition(".")[2] == "__main__":
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if name.isupper() and isinstance(value, str) and STATEMENT.match(value):
                yield f"{module.name}.{name}", value


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def migrated(postgres: str) -> AsyncIterator[Database]:
    """One for all: to prepare a statement changes nothing."""
    async with copied(postgres) as dsn, open_pool(dsn) as db:
        yield db


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("sql", [pytest.param(sql, id=name) for name, sql in statements()])
async def test_the_database_accepts(migrated: Database, sql: str) -> None:
    async with migrated.unbound() as conn:
        await conn.prepare(sql.replace("{where}", "TRUE"))
