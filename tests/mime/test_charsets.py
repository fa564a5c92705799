"""Whatever charset a mail claims, its words arrive."""

import pytest

from postroom.mime.charsets import decode
from postroom.mime.words import decode_words


@pytest.mark.parametrize(
    ("text", "declared", "written"),
    [
        ("Grüße", "utf-8", "utf-8"),
        ("Grüße", "UTF8", "utf-8-sig"),
        ("Grüße", "iso-8859-1", "latin-1"),
        ("100 €", "iso-8859-1", "cp1252"),
        ("Grüße", "us-ascii", "utf-8"),
        ("Grüße", None, "utf-8"),
        ("Grüße", None, "cp1252"),
        ("Grüße", "x-unknown-thing", "utf-8"),
        ("Grüße", "utf-8", "cp1252"),
        ("漢字が", "iso-2022-jp", "iso2022_jp"),
        ("漢字①", "shift_jis", "cp932"),
        ("汉字镕", "gb2312", "gb18030"),
        ("한글똠", "ks_c_5601-1987", "cp949"),
        ("漢字", "big5", "big5"),
        ("Привет", "koi8-r", "koi8-r"),
        ("Привет", '"windows-1251"', "cp1251"),
        ("שלום", "iso-8859-8-i", "iso8859-8"),
        ("ไทย", "tis-620", "cp874"),
        ("abcé", "utf-7", "utf-7"),
        ("abcé", "utf-16", "utf-16"),
    ],
)
def test_text_is_read_in_the_charset_it_was_written_in(text: str, declared: str | None, written: str) -> None:
    assert decode(text.encode(written), declared, set()) == text


@pytest.mark.parametrize(
    "declared", ["idna", "punycode", "zip", "rot13", "base64", "unicode_escape", "\0", "ü"]
)
def test_codecs_that_are_no_charsets_are_not_used(declared: str) -> None:
    defects: set[str] = set()

    assert decode(b"\\x41 QUJD", declared, defects) == "\\x41 QUJD"
    assert defects == {"charset.unknown"}


def test_a_truncated_character_costs_only_itself() -> None:
    defects: set[str] = set()

    assert decode("Grüße é".encode()[:-1], "utf-8", defects) == "Grüße \ufffd"
    assert defects == {"charset.wrong"}


@pytest.mark.parametrize("data", [b"+2AA-", b"+2AA", b"\xff\xfe\x00\xd8"])
@pytest.mark.parametrize("declared", ["utf-7", "utf-16", None])
def test_lone_surrogates_never_come_out(data: bytes, declared: str | None) -> None:
    decode(data, declared, set()).encode("utf-8")


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("plain", "plain"),
        ("=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("=?UTF-8?B?R3LDvMOfZQ==?=", "Grüße"),
        ("=?utf-8?b?R3LDvMOfZQ?=", "Grüße"),
        ("=?utf-8?b?R3LD?= =?utf-8?b?vMOfZQ==?=", "Grüße"),
        ("=?utf-8?q?a?= =?iso-8859-1?q?=FC?=", "aü"),
        ("=?utf-8?q?a?= b =?utf-8?q?c?=", "a b c"),
        ("x =?utf-8?q?a?= y", "x a y"),
        ("x=?utf-8?q?a?=y", "xay"),
        ("=?utf-8*de?q?a_b?=", "a b"),
        ("=?utf-8?q?a b?=", "a b"),
        ("=?utf-8?q?why??=", "why?"),
        ("=?utf-8?x?a?=", "=?utf-8?x?a?="),
        ("=?utf-8?q?a", "=?utf-8?q?a"),
        ("=?utf-8?q??=", ""),
        ("=?iso-8859-1?q?Frö?=", "Frö"),
        ("=?utf-8?q?a=00b=0Ac?=", "a b c"),
        ("=?nonsense?q?=FC?=", "ü"),
        ("=?=?=?utf-8?q?a?=?=", "=?=?a?="),
    ],
)
def test_encoded_words_are_decoded_as_far_as_they_can_be(value: str, wanted: str) -> None:
    assert decode_words(value, set()) == wanted
