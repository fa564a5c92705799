"""Make letters that people take for the same equal: case, accents, width, ligatures.

    text ── NFKC ──> composed, one width ── one table, character by character ──> folded

NFKC first, because half-width kana and conjoining jamo are several characters that mean one. After it every
character folds by itself, so the table is a dictionary that fills as characters are met.

    Crème BRÛLÉE   creme brulee       STRASSE, Straße   strasse
    Ёлка, й        елка, й            Ｆｕｌｌ ｶﾞ         full ガ
    كِتَابـــ        كتاب               İstanbul, ışık    istanbul, isik

й, ї and the like are letters of their own, not accented ones, so they stay; and so do the vowel signs of
Indic scripts and Thai, without which words are no words.
"""

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

MAX_TABLE = 20_000
"""Characters remembered; whoever sends every character of Unicode pays for it alone."""

# Letters that no decomposition relates to the letters people type for them.
_LETTERS = {
    "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h", "ŧ": "t",
    "ŋ": "n", "ĸ": "k", "ƒ": "f", "ə": "e", "ß": "ss", "ς": "σ",
    "ى": "ي", "ة": "ه", "ک": "ك", "ی": "ي", "ٱ": "ا", "ـ": "",  # noqa: RUF100
}  # fmt: skip
# Cyrillic letters that only look like others with an accent; ё is written е so often that it is one.
_OWN_LETTERS = frozenset("йїўќѓ")
# Scripts whose combining marks are accents, points or vowel hints that writers leave out.
_STRIPPED = frozenset(chr(code) for low, high in (
    (0x0300, 0x036F), (0x0483, 0x0487), (0x0591, 0x05C7), (0x0610, 0x061A), (0x064B, 0x065F),
    (0x0670, 0x0670), (0x06D6, 0x06ED), (0x0711, 0x0711), (0x0730, 0x074A), (0x08CA, 0x08FF),
    (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0xFE00, 0xFE0F), (0xFE20, 0xFE2F),
) for code in range(low, high + 1))  # fmt: skip
_APOSTROPHES = frozenset("\u2018\u2019\u201b\u02bc\u02bb\u02b9\u055a\u05f3\u00b4")
_SPACES = frozenset("\u200b\u2028\u2029\u0000")


class _Table(dict[int, str]):
    """What `str.translate` asks for each character, worked out at the first meeting."""

    def __missing__(self, code: int) -> str:
        folded = _fold_character(chr(code))
        if len(self) < MAX_TABLE:
            self[code] = folded
        return folded


def _fold_character(character: str) -> str:
    if character in _APOSTROPHES:
        return "'"
    if character in _SPACES:
        return " "
    folded = []
    for lower in character.casefold():
        if lower in _OWN_LETTERS:
            folded.append(lower)
            continue
        for part in _decomposed(lower):
            if not _is_dropped(part):
                folded.append(_LETTERS.get(part, part) if part > "\x7f" else part)
    return "".join(folded)


def _decomposed(character: str) -> str:
    """Base letter and accents, except where the pieces are not what people type (Hangul, kana, Indic)."""
    decomposed = unicodedata.normalize("NFKD", character)
    if decomposed != character and all(_is_dropped(part) for part in decomposed[1:]):
        return decomposed
    if (value := unicodedata.decimal(character, None)) is not None:
        return str(value)
    return character


def _is_dropped(character: str) -> bool:
    return character in _STRIPPED or unicodedata.category(character) in ("Cf", "Cs")


_TABLE = _Table()


class _Alone(dict[int, str]):
    """Each character folded as if it were a text of its own; for `str.translate`."""

    def __missing__(self, code: int) -> str:
        folded = fold(chr(code))
        if len(self) < MAX_TABLE:
            self[code] = folded
        return folded


_ALONE = _Alone()
_TO_ONE: set[str] = set()  # of those, characters that become one character
# What NFKC joins with its neighbour even where NFC does not: jamo of all kinds, voice marks of kana.
_JOINING = re.compile("[\u1100-\u11ff\u3099\u309a\u3131-\u318e\ua960-\ua97c\ud7b0-\ud7fb\uff9e-\uffdc]")


# Python sorts marks that follow one another in quadratic time. No writing has so many: beyond them a mark
# that vanishes (a combining grapheme joiner) begins the sorting anew, as in UAX 15's Stream-Safe Text Format.
_MANY = 200
_MARKS = "".join(filter(unicodedata.combining, map(chr, range(0x300, 0x20000))))
_CROWD = re.compile(f"[{_MARKS}\u0f73\u0f75\u0f81\uff9e\uff9f]{{{_MANY}}}")  # the last decompose into marks
_JOINER = "\u034f"


def fold(text: str) -> str:
    """`text` with everything that a search should not care about taken away.

    Not the text's length: ß becomes two letters, accents none. Apostrophes of all kinds become
    `'`, lone surrogates and invisible characters vanish, NUL and zero-width space become a space.
    """
    if text.isascii():
        return text.lower().replace("\0", " ")
    if len(text) > _MANY:
        text = _CROWD.sub(rf"\g<0>{_JOINER}", text)
    return unicodedata.normalize("NFKC", text).translate(_TABLE)


def fold_aligned(text: str) -> tuple[str, Sequence[int]]:
    """`fold(text)`, and for each of its characters the offset in `text` that it came from, ending with
    `len(text)`."""
    if text.isascii():
        return fold(text), range(len(text) + 1)
    if unicodedata.is_normalized("NFC", text) and not _JOINING.search(text):
        return text.translate(_ALONE), _offsets_alone(text)
    starts = [at for at in range(len(text)) if not at or not is_continuing(text[at])]
    pieces = [fold(text[start:end]) for start, end in pairwise([*starts, len(text)])]
    offsets = [start for start, piece in zip(starts, pieces, strict=True) for _ in piece]
    return "".join(pieces), [*offsets, len(text)]


def _offsets_alone(text: str) -> Sequence[int]:
    """`fold_aligned`'s, where each character folds by itself: nearly all of them to one."""
    widths = {character: len(_ALONE[ord(character)]) for character in set(text) - _TO_ONE}
    others = [character for character, width in widths.items() if width != 1]
    if len(_TO_ONE) < MAX_TABLE:
        _TO_ONE.update(widths.keys() - others)
    if not others:
        return range(len(text) + 1)
    offsets, at = list[int](), 0
    for match in re.finditer(f"[{re.escape(''.join(others))}]", text):
        start = match.start()
        offsets += range(at, start)
        offsets += [start] * widths[text[start]]
        at = start + 1
    return [*offsets, *range(at, len(text) + 1)]


def is_continuing(character: str) -> bool:
    """Whether NFKC may join `character` with the one before it."""
    return _JOINING.match(character) is not None or unicodedata.category(character)[0] == "M"
