"""Whatever word of a mail somebody types, however they type it, finds the mail."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.db.pool import Database
from postroom.search.compile import render_text
from postroom.search.query import Field, Text
from postroom.text.vector import Field as VectorField
from postroom.text.vector import TsVector, Weight, document

MISSED = """
    SELECT query
      FROM unnest($1::tsvector[], $2::text[]) AS pair (vector, query)
     WHERE NOT vector @@ query::tsquery
"""
LETTERS = st.text(
    st.sampled_from(
        "abcXYZ012éÉßøÖçñÅйЙёґДжΣςλעבכתمكةى中文郵件かなカナ한국ภาษาที่क्षहि'’.@-_+/ ,;:()\n\u0301\xa0…ﬁ"
    )
    | st.characters(codec="utf-8", exclude_characters="\0"),
    max_size=60,
)


def typed(word: str) -> list[str]:
    """Ways to type `word`."""
    return [
        word,
        word.lower(),
        unicodedata.normalize("NFD", word),
        unicodedata.normalize("NFC", word),
        word.replace("’", "'"),
    ]


@pytest.mark.parametrize("field", [None, Field.SUBJECT, Field.BODY])
async def test_every_word_finds_its_mail(db: Database, field: Field | None) -> None:
    pairs: list[tuple[TsVector, str]] = []

    @given(LETTERS)
    @settings(max_examples=150, database=None)
    def collect(text: str) -> None:
        vector = document([VectorField(text, Weight.A, "s:")], text).vector
        for phrase in (text, *text.split()):
            for query in typed(phrase):
                rendered = render_text(Text(query, field))
                if isinstance(rendered, str):
                    pairs.append((vector, rendered))

    collect()
    async with db.unbound() as conn:
        missed = await conn.fetch(MISSED, [vector for vector, _ in pairs], [query for _, query in pairs])

    assert len(pairs) > 100
    assert [row["query"] for row in missed] == []
