import pytest

from postroom.db.pool import Database
from postroom.db.sql import Where

PAGE = "SELECT n FROM generate_series(1, $1) AS n WHERE {where} ORDER BY n LIMIT $2"


def test_parameters_are_numbered_after_those_of_the_statement() -> None:
    where = Where(10, 5)
    where.add("n > $? AND n <> -$?", 3)
    where.given("n < $?", None)
    where.given("n < $?", 7)
    where.add("n IS NOT NULL")

    assert "WHERE (n > $3 AND n <> -$3) AND (n < $4) AND (n IS NOT NULL) ORDER" in where.into(PAGE)
    assert where.values == [10, 5, 3, 7]


def test_no_condition_lets_everything_through() -> None:
    assert "WHERE TRUE ORDER" in Where(10, 5).into(PAGE)


def test_false_values_are_values() -> None:
    where = Where()
    where.given("n = $?", 0)

    assert where.values == [0]


async def test_postgresql_takes_it(db: Database) -> None:
    where = Where(10, 5)
    where.add("n > $?", 3)
    async with db.unbound() as conn:
        rows = await conn.fetch(where.into(PAGE), *where.values)

    assert [row["n"] for row in rows] == [4, 5, 6, 7, 8]


def test_a_condition_that_does_not_fit_its_value_is_a_bug() -> None:
    where = Where()
    with pytest.raises(ValueError, match="do not match"):
        where.add("n = 1", 1)
    with pytest.raises(ValueError, match="do not match"):
        where.add("n = $?")
    with pytest.raises(ValueError, match="has no"):
        where.into("SELECT 1")
