"""The native twin of `vector.document`, where it was built: a quarter of the time, the same bytes.

It folds and cuts words of plain characters, those that fold one by one to one; what those are it learns from
`fold` and `words`, 256 at a time. All other words are expanded here. See decision 0007.
"""

import re
import struct
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from functools import partial

from .fold import fold, is_continuing
from .words import JOINTS, find_runs, is_spaceless

try:
    from ._vector import vector
except ImportError:  # no compiler, or no headers of Python, when this was installed
    vector = None  # type: ignore[assignment]

IS_BUILT = vector is not None
PAGE = 256
# Ideographs and syllables are themselves; learned one by one they would delay the first mails by 0.1 s.
_ALIKE = re.compile(f"[\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3]{{{PAGE}}}")
REMEMBERED = 50_000
REMEMBERED_LENGTH = 32  # characters; what repeats is short
REMEMBERED_BYTES = 512  # of an expanded word

Placed = tuple[list[str], list[int], int]


class Sort(IntEnum):
    """What a character folds to, as _vector.c numbers it."""

    OTHER = 1
    LETTER = 2
    JOINT = 3
    SPACELESS = 4
    NOT_PLAIN = 5


_known: dict[str, bytes] = {}


def encoded(
    facts: Sequence[str], texts: Iterable[tuple[str, str, int]], placed: Callable[[str], Placed]
) -> tuple[bytes, bool] | None:
    """The tsvector of facts and texts, each with its mark and weight, and whether some words had no room.

    None where the last position comes too early: `document` has to do it. Not to be called without a twin.
    """
    return vector(list(facts), list(texts), _known, partial(_expanded, placed), _page)


def _expanded(placed: Callable[[str], Placed], word: str) -> bytes | None:
    """The tokens of a word with their distances; None for one that takes more places than there are."""
    tokens, distances, width = placed(word)
    if width > 0xFFFF:
        return None
    pieces = [struct.pack("=H", width)]
    for token, distance in zip(tokens, distances, strict=True):
        letters = token.encode()
        pieces.append(struct.pack("=HH", distance, len(letters)) + letters)
    expanded = b"".join(pieces)
    if len(word) <= REMEMBERED_LENGTH and len(expanded) <= REMEMBERED_BYTES:
        if len(_known) >= REMEMBERED:
            _known.clear()  # strangers choose the words; those of most mails are back soon
        _known[word] = expanded
    return expanded


def _page(number: int) -> bytes:
    """What each of 256 characters folds to, and its sort."""
    codes = range(PAGE * number, PAGE * (number + 1))
    characters = list(map(chr, codes))
    if _ALIKE.match("".join(characters)):
        return struct.pack("=256H256B", *codes, *[Sort.SPACELESS] * PAGE)
    return _learned(characters)


def _learned(characters: Sequence[str]) -> bytes:
    sorts = [_sort(character) for character in characters]
    folded = [
        ord(fold(character)) if sort is not Sort.NOT_PLAIN else 0
        for character, sort in zip(characters, sorts, strict=True)
    ]
    return struct.pack("=256H256B", *folded, *sorts)


def _sort(character: str) -> Sort:
    folded = fold(character)
    if len(folded) != 1 or folded > "\uffff" or is_continuing(character) or is_continuing(folded):
        return Sort.NOT_PLAIN
    if folded in JOINTS:
        return Sort.JOINT
    if is_spaceless(folded):
        return Sort.SPACELESS
    return Sort.LETTER if find_runs(folded) else Sort.OTHER
