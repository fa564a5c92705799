"""PostgreSQL itself checks every SQL constant of the package against the migrated schema."""

import importlib
import pkgutil
import re
from collections.abc import Iterator

import pytest

import postroom
from postroom.db.pool import Database

STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|MERGE)\b")


def statements() -> Iterator[tuple[str, str]]:
    for module in pkgutil.walk_packages(postroom.__path__, "postroom."):
        if module.name.rpartition(".")[2] == "__main__":
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if name.isupper() and isinstance(value, str) and STATEMENT.match(value):
                yield f"{module.name}.{name}", value


@pytest.mark.parametrize("sql", [pytest.param(sql, id=name) for name, sql in statements()])
async def test_the_database_accepts(db: Database, sql: str) -> None:
    async with db.unbound() as conn:
        await conn.prepare(sql.replace("{where}", "TRUE"))
