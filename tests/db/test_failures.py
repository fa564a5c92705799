"""What is said of errors that PostgreSQL, or its driver, raises."""

import asyncpg
import pytest

from postroom.db.failures import told


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            asyncpg.DataError("invalid input for query argument $3: ['canary (or not)'] (expected str)"),
            "invalid input for query argument $3: ... (expected str)",
        ),
        (
            asyncpg.DataError('invalid input syntax for type uuid: "canary"'),
            "invalid input syntax for type uuid: ...",
        ),
        (
            asyncpg.DataError("string is too long for tsvector\nDETAIL:  canary"),
            "string is too long for tsvector",
        ),
    ],
    ids=["driver", "server", "particulars"],
)
def test_no_value_is_told(error: Exception, said: str) -> None:
    assert told(error) == said
