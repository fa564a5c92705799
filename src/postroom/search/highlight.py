"""Show where a text answers a query: match offsets, the best snippet, safe HTML with `<mark>`. Pure.

Words are compared as the index compares them: on folded text, which is mapped back to the text as written.
"""

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from postroom.text.fold import fold, fold_aligned
from postroom.text.words import SPACELESS, cut, expand

from .compile import MAX_RANKED, leaves_wanted
from .query import Node, Text

MAX_READ = 50_000
"""Characters of a text looked at."""
MAX_MATCHES = 500
MAX_WORDS = 48
"""Words looked for in one pass, shared among the terms: each makes the pattern dearer to build and to run."""
WIDTH = 200

_SPACELESS = re.compile(f"[{SPACELESS}]")
# A letter that makes a word longer. The second class takes 2 ms to build and stands twice in each word: it is
# for terms that hold letters of such scripts. For other terms those of the text are masked.
_LETTER, _LETTER_OF_ANY = r"[^\W_]", rf"[^\W_{SPACELESS}]"
_MASK = "\ue000"  # neither a letter nor what may stand between the words of a phrase
_BETWEEN = rf"(?:(?!{_MASK})[\W_]){{0,8}}"
_MORE = rf"[\w{_MASK}]{{0,64}}"
_BREAKS = str.maketrans({code: " " for code in (*range(32), 0x7F, 0x85, 0x2028, 0x2029)})


@dataclass(frozen=True, slots=True)
class Snippet:
    text: str
    """A stretch of the original; every line break in it is a space."""
    matches: tuple[tuple[int, int], ...]
    """Where in `text`, ascending, apart from each other."""
    before: bool
    """Whether something was left out before it."""
    after: bool

    @property
    def html(self) -> str:
        """`text` escaped, with `<mark>` around matches and an ellipsis for what was left out."""
        marked = mark(self.text, self.matches)
        return ("… " if self.before else "") + marked + (" …" if self.after else "")


def terms(node: Node) -> tuple[str, ...]:
    """The words and phrases that a mail is found for; a star at the end of one that may go on."""
    texts = [leaf for leaf in leaves_wanted(node) if isinstance(leaf, Text)]
    words = (leaf.text.strip() + ("*" if leaf.prefix else "") for leaf in texts if leaf.text.strip())
    return tuple(dict.fromkeys(words))[:MAX_RANKED]


def find_matches(text: str, terms: Sequence[str]) -> list[tuple[int, int]]:
    """Where `terms` stand in the first MAX_READ characters of `text`: ascending, not overlapping."""
    return [(start, end) for start, end, _ in _find(text, terms)]


def mark(text: str, matches: Iterable[tuple[int, int]]) -> str:
    """`text` as HTML: everything escaped, each match in `<mark>`."""
    pieces, at = [], 0
    for start, end in matches:
        pieces += [html.escape(text[at:start]), "<mark>", html.escape(text[start:end]), "</mark>"]
        at = end
    return "".join(pieces) + html.escape(text[at:])


def snippet(text: str, terms: Sequence[str], width: int = WIDTH) -> Snippet:
    """The stretch of about `width` characters with the most different terms, else with the most matches.

    The start of `text` when nothing matches.
    """
    text = text[:MAX_READ]
    found = _find(text, terms)
    start = _best(found, width)
    if start:
        start = _word_start(text, max(0, start - width // 4))
    end = min(len(text), start + width)
    if end < len(text):
        space = text.rfind(" ", start, end)
        end = space if space > start + width // 2 and space >= _last_end(found, end) else end
    matches = tuple((a - start, b - start) for a, b, _ in found if a >= start and b <= end)
    return Snippet(text[start:end].translate(_BREAKS), matches, start > 0, end < len(text))


def _find(text: str, terms: Sequence[str]) -> list[tuple[int, int, str]]:
    """Each match and the term it is for."""
    wanted = tuple(terms[:MAX_RANKED])
    pattern = _pattern(wanted)
    if pattern is None:
        return []
    folded, offsets = fold_aligned(text[:MAX_READ])
    if not folded.isascii() and not _are_spaceless(wanted):
        folded = _SPACELESS.sub(_MASK, folded)
    found: list[tuple[int, int, str]] = []
    for match in pattern.finditer(folded):
        start, end = offsets[match.start()], _end(offsets, match.end())
        if not found or start >= found[-1][1]:
            found.append((start, end, match.lastgroup or ""))
        if len(found) == MAX_MATCHES:
            break
    return found


def _end(offsets: Sequence[int], at: int) -> int:
    """Where the original of the folded text before `at` ends: accents after its last letter belong to it."""
    last = offsets[at - 1]
    while offsets[at] == last:
        at += 1
    return offsets[at]


@lru_cache(maxsize=64)
def _pattern(terms: tuple[str, ...]) -> re.Pattern[str] | None:
    most = max(1, MAX_WORDS // max(1, len(terms)))
    letter = _LETTER_OF_ANY if _are_spaceless(terms) else _LETTER
    longest = sorted(terms, key=len, reverse=True)
    patterns = filter(None, (_term_pattern(term, most, letter) for term in longest))
    choices = [f"(?P<t{number}>{pattern})" for number, pattern in enumerate(patterns)]
    return re.compile("|".join(choices)) if choices else None


@lru_cache(maxsize=64)
def _are_spaceless(terms: tuple[str, ...]) -> bool:
    """Whether any has letters of scripts that put no spaces between words."""
    return _SPACELESS.search(fold(" ".join(terms))) is not None


def _term_pattern(term: str, most: int, letter: str) -> str:
    """A pattern without nested repetition, hence linear; of a phrase only the first `most` words."""
    runs = [expand(run) for run in cut(fold(term))]
    ending = f"(?!{letter})"
    parts: list[str] = []
    for run in runs:
        if run.parts and _SPACELESS.match(run.parts[0]):
            parts.append(re.escape("".join([run.parts[0], *(pair[-1] for pair in run.parts[1:])])))
        else:
            parts += (_word_pattern(word, letter) + ending for word in run.parts)
    if parts and term.endswith("*"):
        parts[-1] = parts[-1].removesuffix(ending) + _MORE
    return _BETWEEN.join(parts[:most])


def _word_pattern(word: str, letter: str) -> str:
    """The tokens have lost their apostrophes, the text has not.

    What stands before the word is looked at behind its first letter, which is what `re` leaps to.
    """
    first, *rest = map(re.escape, word)
    return "'?".join([f"{first}(?<!{letter}{first})", *rest])


def _best(found: list[tuple[int, int, str]], width: int) -> int:
    """Where the first match of the best stretch begins; 0 without any. Linear: a window slides over them."""
    best, best_start, first = (0, 0), 0, 0
    counts: dict[str, int] = {}
    for number, (_, end, term) in enumerate(found):
        counts[term] = counts.get(term, 0) + 1
        while first < number and end - found[first][0] > width * 3 // 4:
            gone = found[first][2]
            counts[gone] -= 1
            if not counts[gone]:
                del counts[gone]
            first += 1
        quality = (len(counts), number - first)
        if quality > best:
            best, best_start = quality, found[first][0]
    return best_start


def _word_start(text: str, at: int) -> int:
    """The start of a word at or shortly after `at`."""
    space = max(text.find(" ", at, at + 20), text.find("\n", at, at + 20))
    return space + 1 if at and space >= 0 else at


def _last_end(found: list[tuple[int, int, str]], end: int) -> int:
    return max((match_end for _, match_end, _ in found if match_end <= end), default=0)
