from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.db.codecs import A, B, C, D, decode_tsvector, encode_tsvector
from postroom.db.pool import Database

positions = st.lists(st.integers(1, 16383), max_size=20, unique=True).map(sorted)
vectors = st.dictionaries(
    st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=9), positions
)


@settings(max_examples=50)
@given(vectors)
def test_a_tsvector_survives_the_round_trip(lexemes: dict[str, list[int]]) -> None:
    assert decode_tsvector(encode_tsvector(lexemes)) == lexemes


async def test_postgresql_reads_what_the_client_prepared(db: Database) -> None:
    ours = {"zebra": [A | 1, D | 17], "ärger": [B | 2], "日本": [C | 16383], "bare": []}
    async with db.unbound() as conn:
        same = await conn.fetchval(
            "SELECT $1::tsvector = $2::text::tsvector", ours, "zebra:1A,17 ärger:2B 日本:16383C bare"
        )
        found = await conn.fetchval("SELECT $1::tsvector @@ 'zebra:A & ärger:*B & !bird'::tsquery", ours)
        back = await conn.fetchval("SELECT $1::tsvector", ours)

    assert same
    assert found
    assert back == ours


async def test_a_copy_and_an_array_carry_tsvectors(db: Database) -> None:
    ours = [{"a": [1]}, {"b": [2]}]
    async with db.unbound() as conn:
        await conn.execute("CREATE TEMP TABLE words (words tsvector) ON COMMIT DROP")
        await conn.copy_records_to_table("words", records=[(words,) for words in ours])
        await conn.execute("INSERT INTO words SELECT unnest($1::tsvector[])", ours)

        assert [row["words"] for row in await conn.fetch("SELECT * FROM words")] == ours * 2


def test_a_nul_in_a_lexeme_is_refused_before_it_is_sent() -> None:
    with pytest.raises(ValueError, match="NUL"):
        encode_tsvector({"a\0b": []})


@pytest.mark.parametrize("kind", ["json", "jsonb"])
async def test_json_goes_in_and_out_as_values(db: Database, kind: str) -> None:
    value = {"ä": [1, 2.5, None, True, {"deep": "日本"}]}
    async with db.unbound() as conn:
        assert await conn.fetchval(f"SELECT $1::{kind}", value) == value
        assert await conn.fetchval(f"SELECT ARRAY[$1::{kind}]", value) == [value]


async def test_times_are_aware_and_utc(db: Database) -> None:
    async with db.unbound() as conn:
        now = await conn.fetchval("SELECT now()")

    assert now.utcoffset() == timedelta(0)
    assert now > datetime(2020, 1, 1, tzinfo=UTC)
