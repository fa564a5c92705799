"""What folding promises."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.text.fold import fold, fold_aligned


@pytest.mark.parametrize(
    ("written", "folded"),
    [
        ("Crème BRÛLÉE", "creme brulee"),
        ("Straße STRASSE", "strasse strasse"),
        ("Łódź Ørsted Đorđe Æther Œuvre", "lodz orsted dorde aether oeuvre"),
        ("İstanbul IŞIK ışık", "istanbul isik isik"),
        ("Ёлка Й и\u0306 Київ", "елка й й київ"),
        ("ΟΔΥΣΣΕΎΣ Οδυσσεύς", "οδυσσευσ οδυσσευσ"),
        ("كِتَابـــ", "كتاب"),
        ("שָׁלוֹם", "שלום"),
        ("Ｆｕｌｌ ｶﾞｲﾄﾞ", "full ガイド"),
        ("\u1112\u1161\u11ab\u1100\u116e\u11a8", "한국"),
        ("क्षत्रिय", "क्षत्रिय"),
        ("١٢٣ ๑๒ ²", "123 12 2"),
        ("don’t ﬁnd ①", "don't find 1"),
        ("soft\u00adhyphen zero\u200bwidth", "softhyphen zero width"),
    ],
)
def test_letters_that_people_take_for_the_same_become_the_same(written: str, folded: str) -> None:
    assert fold(written) == folded


@given(st.text(st.characters(codec="latin-1") | st.characters(), max_size=60))
@settings(max_examples=300)
def test_composed_and_decomposed_text_fold_alike(text: str) -> None:
    assert fold(unicodedata.normalize("NFD", text)) == fold(unicodedata.normalize("NFC", text))


@given(st.text(st.characters(), max_size=60))
@settings(max_examples=300)
def test_no_text_is_too_strange_and_no_nul_or_surrogate_is_left(text: str) -> None:
    folded = fold(text)

    assert "\0" not in folded
    folded.encode()


@given(
    st.text(
        st.sampled_from("aÉéß\u0301\u3099ｶﾞガ가\u1100\u1161\u11a8ㄱㅏक्\u093cﬁ…\xa0 '’İ½\u0e4d\u0e32")
        | st.characters()
    )
)
@settings(max_examples=500)
def test_every_folded_character_knows_where_it_came_from(text: str) -> None:
    folded, offsets = fold_aligned(text)

    assert folded == fold(text)
    assert len(offsets) == len(folded) + 1
    assert list(offsets) == sorted(offsets)
    assert offsets[-1] == len(text)
