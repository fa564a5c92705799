"""The words of a mail with their places: what PostgreSQL calls a tsvector, made on our side of the wire.

`to_tsvector` costs more than everything else in a first sync, and knows neither our folding nor scripts
without spaces. A place is encoded as tsvector does it: weight << 14 | position.

Header fields have a mark: their tokens are kept twice, as words of the mail (with the field's weight, for
ranking) and with the mark in front (`f:alice`), so that `from:alice` is one look into the index. A colon
never occurs in a token, so marked words collide with nothing a stranger can write.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import TypeAlias, TypeVar

from . import twin
from .fold import fold
from .words import cut, expand, is_spaceless, pairs

MAX_POSITION = 16_383
MAX_PLACES = 255
"""Places kept for one lexeme. Both are limits of PostgreSQL (Text Search Types)."""
MAX_TEXT = 1_000_000
"""Characters of a mail's body that are indexed."""
MAX_HEADER = 100_000
"""Characters of any one header field that are indexed."""
MAX_BYTES = 700_000
"""Of a tsvector; PostgreSQL refuses 1,048,576."""
MAX_LEXEMES = 40_000
_SMALL = 20_000  # characters from which no vector of MAX_BYTES can come (32 bytes a character at most)
_GAP = 2  # between fields, so that no phrase crosses from one into the next

REMEMBERED = 50_000
REMEMBERED_LENGTH = 32  # characters; what repeats is short
REMEMBERED_WIDTH = 8  # places, of what is more than one word
REMEMBERED_FIELD = 100  # characters

TsVector = dict[str, list[int]]
Placed: TypeAlias = tuple[list[str], list[int], int]
T = TypeVar("T")

_PLAIN: dict[str, str] = {}  # words as written, and the one token that each is
_OTHERS: dict[str, Placed] = {}


class Weight(IntEnum):
    A = 3
    B = 2
    C = 1
    D = 0


@dataclass(frozen=True, slots=True)
class Field:
    """One header field: its text, weight, and the mark that a search in this field looks for."""

    text: str
    weight: Weight
    mark: str


@dataclass(frozen=True, slots=True)
class Document:
    vector: TsVector
    truncated: bool
    """Whether words at the end of the mail are not in `vector`."""


def document(fields: Sequence[Field], body: str, facts: Sequence[str] = ()) -> Document:
    """The tsvector of a mail: `fields` with their weights and marks, then `body` with weight D.

    `facts` are lexemes of our own, kept as they are and without a place. Never fails: a mail with more than
    `MAX_LEXEMES` words keeps the first ones.
    """
    vector, position = _head(fields, facts)
    truncated = _is_cut(fields, body)
    truncated |= _add_body(vector, body[:MAX_TEXT], position)
    _drop_excess(vector)
    if len(body) + sum(len(field.text) for field in fields) > _SMALL:
        truncated |= _drop_overflow(vector)
    vector.default_factory = None
    return Document(vector, truncated)


def encoded(fields: Sequence[Field], body: str, facts: Sequence[str] = ()) -> tuple[bytes, bool] | None:
    """The same, as PostgreSQL takes it, by the native twin. None: it has to be done by `document`."""
    if not twin.IS_BUILT:
        return None
    texts = [(field.text[:MAX_HEADER], field.mark, field.weight << 14) for field in fields]
    made = twin.encoded(facts, [*texts, (body[:MAX_TEXT], "", 0)], _placed)
    return made and (made[0], made[1] or _is_cut(fields, body))


def _head(fields: Iterable[Field], facts: Sequence[str]) -> tuple[defaultdict[str, list[int]], int]:
    """The vector of all that stands before the body, and where that begins."""
    vector: defaultdict[str, list[int]] = defaultdict(list)
    for fact in facts:
        vector[fact] = []
    position = 1
    for field in fields:
        position = _GAP + _add_field(vector, field, position)
    return vector, position


def _is_cut(fields: Iterable[Field], body: str) -> bool:
    return len(body) > MAX_TEXT or any(len(field.text) > MAX_HEADER for field in fields)


def _add_field(vector: defaultdict[str, list[int]], field: Field, position: int) -> int:
    """Senders, recipients and subjects repeat more than anything else in a mailbox."""
    if len(field.text) <= REMEMBERED_FIELD:
        placed, width = _tokens_of_field(field.text, field.mark)
        if position + width <= MAX_POSITION:
            bits = field.weight << 14 | position
            for token, marked, distance in placed:
                vector[token].append(bits + distance)
                vector[marked].append(bits + distance)
            return position + width
    runs = cut(fold(field.text[:MAX_HEADER]))
    return _add(vector, runs, position, field.weight << 14, ("", field.mark))


@lru_cache(maxsize=1024)
def _tokens_of_field(text: str, mark: str) -> tuple[tuple[tuple[str, str, int], ...], int]:
    tokens, distances, width = _placed(text)
    return tuple((token, mark + token, at) for token, at in zip(tokens, distances, strict=True)), width


def _add_body(vector: defaultdict[str, list[int]], body: str, position: int) -> bool:
    """The hot loop of a first sync. Words are folded and cut one by one: most have been met before.

    Says whether words at the end had no room.
    """
    words = iter(pieces := body.split())
    room = MAX_POSITION - position - len(pieces)
    if room < 0:
        return _add_long(vector, body, position)
    for word in words:
        if (token := _PLAIN.get(word)) is not None:
            vector[token].append(position)
            position += 1
            continue
        if len(word) > MAX_POSITION:
            return _add_long(vector, " ".join((word, *words)), position)
        tokens, distances, width = _OTHERS.get(word) or _met(word)
        room -= width - 1
        if room < 0:
            return _add_long(vector, " ".join((word, *words)), position)
        for token, distance in zip(tokens, distances, strict=True):
            vector[token].append(position + distance)
        position += width
    return False


def _add_long(vector: defaultdict[str, list[int]], text: str, position: int) -> bool:
    """Add what goes on beyond the last position. One character may fold to eighteen."""
    folded = fold(text)
    _add(vector, cut(folded[:MAX_TEXT]), position, 0, ("",))
    return len(folded) > MAX_TEXT


def _met(word: str) -> Placed:
    """Fold and cut a word, and remember it if it is one that may come again."""
    placed = tokens, _, width = _placed(word)
    if len(word) <= REMEMBERED_LENGTH:
        if len(tokens) == width == 1:
            _remember(_PLAIN, word, tokens[0])
        elif width <= REMEMBERED_WIDTH:
            _remember(_OTHERS, word, placed)
    return placed


def _placed(text: str) -> Placed:
    """Every token of a text, the distance of each from the start, and how many places they take."""
    tokens: list[str] = []
    distances: list[int] = []
    width = 0
    for run in cut(fold(text)):
        if is_spaceless(run):
            tokens += pairs(run)
            distances += range(width, width + len(run))
            width += len(run)
        else:
            expanded = expand(run)
            tokens += [token for token, _ in expanded.placed]
            distances += [width + distance for _, distance in expanded.placed]
            width += expanded.width
    return tokens, distances, width


def _remember(words: dict[str, T], word: str, what: T) -> None:
    if len(words) >= REMEMBERED:
        words.clear()  # strangers choose the words; those of most mails are back soon
    words[word] = what


def _add(
    vector: defaultdict[str, list[int]], runs: list[str], position: int, bits: int, marks: tuple[str, ...]
) -> int:
    """Add `runs` under each of `marks` and return the position after them.

    Words beyond the last position share it, as PostgreSQL has it.
    """
    for run in runs:
        expanded = expand(run)
        for token, distance in expanded.placed:
            place = min(position + distance, MAX_POSITION)
            for mark in marks:
                places = vector[mark + token]
                if not places or (places[-1] & MAX_POSITION) < place:
                    places.append(bits | place)
        position += expanded.width
    return position


def _drop_excess(vector: dict[str, list[int]]) -> None:
    """Drop places beyond what a lexeme may have."""
    if max(map(len, vector.values()), default=0) > MAX_PLACES:
        for places in vector.values():
            del places[MAX_PLACES:]


def _drop_overflow(vector: dict[str, list[int]]) -> bool:
    """Drop the last lexemes until the vector is within its limits; say whether any was dropped."""
    size, kept = 0, 0
    for lexeme, places in vector.items():
        size += len(lexeme.encode()) + 8 + 2 * len(places)
        if size > MAX_BYTES or kept == MAX_LEXEMES:
            break
        kept += 1
    dropped = list(vector)[kept:]
    for lexeme in dropped:
        del vector[lexeme]
    return bool(dropped)
