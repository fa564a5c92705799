"""Cut folded text into runs, and a run into the tokens that find it.

    hello                 hello
    don't, l'heure        dont + don; lheure + heure          (apostrophes dropped; parts at the same place)
    alice@mail.example    alice, mail, example + the whole + mail.example (the host)
    www.example.com       www, example, com + the whole
    well-known            well, known
    電子郵件               電子, 子郵, 郵件, 件           (scripts without spaces: pairs, and the last)

What follows the `+` stands at the place of the first part. So a phrase of parts finds every run and every
part of a run, and the whole finds an address without reading the lists of its parts.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from itertools import count

from .fold import fold

MAX_TOKEN = 64
"""Characters of a word; longer ones are encoded data, not words, and are not indexed."""
MAX_WHOLE = 128
"""Characters of an address or host indexed as one token."""

# Han, kana, Bopomofo, Hangul, Thai, Lao, Myanmar, Khmer: writers put no spaces between words (Koreans put
# them, but join particles to words).
SPACELESS = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ecd\u1000-\u104f\u1100-\u11ff\u1780-\u17d3\u3005-\u3007\u3041-\u3096"
    "\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
    "\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U000323af"
)
_MARKS = "".join(
    character
    for block in (range(0x0900, 0x1000), range(0x1700, 0x1D00), range(0xA800, 0xAC00))
    for character in map(chr, block)
    if unicodedata.category(character)[0] == "M"
)
_WORD = rf"[^\W_{SPACELESS}]+(?:[{_MARKS}]+[^\W_{SPACELESS}]*)*"
_JOINT = r"['.@_+\-]"
_RUNS = re.compile(rf"[{SPACELESS}]+|{_WORD}(?:{_JOINT}{_WORD})*")
_SPLIT = re.compile(r"[.@_+\-]")
_SPACELESS_START = re.compile(f"[{SPACELESS}]")
_FIRST_SPACELESS = "\u0e01"
JOINTS = "'.@_+-"
# Everything that separates words becomes a space, so that `split` cuts: three times as fast as a pattern.
_ASCII = bytes(code if chr(code).isalnum() or chr(code) in JOINTS else 0x20 for code in range(128)).ljust(256)
_CACHED = 32  # characters; what repeats is short, and strangers fill the cache


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of text without a break, as the index and as a query see it."""

    placed: tuple[tuple[str, int], ...]
    """Every token with its distance from the start of the run."""
    width: int
    """How many places the run takes."""
    parts: tuple[str, ...]
    """The tokens that, one after the other, make the run; empty when a part is too long to be indexed."""
    whole: str | None
    """The token of the whole address or host."""


def cut(folded: str) -> list[str]:
    """The runs of `folded` (which `fold` made), in order. Linear.

    Those of ASCII text may have joints left at their ends and doubled inside; `expand` sees to that.
    """
    if folded.isascii():
        return folded.encode().translate(_ASCII).decode().split()
    return _RUNS.findall(folded)


def find_runs(folded: str) -> list[tuple[int, int]]:
    """Where the runs of `folded` begin and end."""
    return [match.span() for match in _RUNS.finditer(folded)]


def is_plain(run: str) -> bool:
    """Whether `run` is one token, itself (or nothing, when it is too long)."""
    return run < _FIRST_SPACELESS and run.isalnum()


def is_spaceless(run: str) -> bool:
    """Whether `run` is of a script that puts no spaces between words."""
    return run[0] >= _FIRST_SPACELESS and _SPACELESS_START.match(run) is not None


def pairs(run: str) -> list[str]:
    """The tokens of a run of such a script, one for each of its places."""
    return [run[at : at + 2] for at in range(len(run))]


def expand(run: str) -> Run:
    """The tokens of one run that `cut` made."""
    return _expand_again(run) if len(run) <= _CACHED else _expand(run)


def _expand(chunk: str) -> Run:
    runs = [_expand_run(run) for run in _RUNS.findall(chunk)]
    if len(runs) == 1:
        return runs[0]
    placed: list[tuple[str, int]] = []
    width = 0
    for run in runs:
        placed += [(token, width + place) for token, place in run.placed]
        width += run.width
    parts = tuple(part for run in runs for part in run.parts) if all(run.parts for run in runs) else ()
    return Run(tuple(placed), width, parts, None)


_expand_again = lru_cache(maxsize=16_384)(_expand)


def _expand_run(run: str) -> Run:
    if is_spaceless(run):
        tokens = pairs(run)
        return Run(tuple(zip(tokens, count())), len(run), tuple(tokens[:-1] or tokens), None)
    placed: list[tuple[str, int]] = []
    parts: list[str] = []
    for place, atom in enumerate(_SPLIT.split(run)):
        word = atom.replace("'", "")
        parts.append(word)
        placed.append((word, place))
        if "'" in atom:
            placed += [(piece, place) for piece in atom.split("'") if len(piece) > 1]
    placed = [(token, place) for token, place in placed if len(token) <= MAX_TOKEN]
    wholes = [whole for whole in _wholes(run) if len(whole) <= MAX_WHOLE] if len(parts) > 1 else []
    return Run(
        placed=tuple(dict.fromkeys([*placed, *((whole, 0) for whole in wholes)])),
        width=len(parts),
        parts=tuple(parts) if all(len(part) <= MAX_TOKEN for part in parts) else (),
        whole=wholes[0] if wholes else None,
    )


def _wholes(run: str) -> tuple[str, ...]:
    """The run as an address or host, then the host of the address."""
    if len(run) > 2 * MAX_WHOLE:
        return ()
    run = run.replace("'", "")
    _, at, host = run.rpartition("@")
    named = "." in host and len(host.rpartition(".")[2]) > 1 and not host.rpartition(".")[2].isdigit()
    if at:
        return (run, host) if named else (run,)
    return (run,) if named and "_" not in run and "+" not in run else ()


def tokens(text: str) -> list[str]:
    """Every token that the index keeps of `text`, in order, repeated where they repeat."""
    found: list[str] = []
    for run in cut(fold(text)):
        if is_plain(run):
            if len(run) <= MAX_TOKEN:
                found.append(run)
        else:
            found += [token for token, _ in expand(run).placed]
    return found
