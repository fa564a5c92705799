"""Turn the tree of a query into what PostgreSQL evaluates. Pure.

Whatever never changes about a mail is a lexeme of its vector: words, marked words of header fields, facts. So
most queries become one tsquery, which the index answers alone:

    subject:invoice -from:shop has:attachment      ->   'o:7' & 's:invoice' & !'f:shop' & 'h:attachment'

What changes (flags, folders) or is a number (size, time) is a lexeme too, but one that the function
`search_matches` makes up for each candidate; bounds of the whole query are columns. It is rendered thrice:

    loose    those leaves taken as fulfilled, and words anywhere: a superset, answered by the index alone
    narrow   words in their places: of a phrase, or in the text
    exact    the whole truth, where narrow is not

Every lexeme comes from our own tokens and is quoted; a colon, which no token contains, keeps ours apart.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import assert_never

from postroom.ids import AccountId, FolderId, TenantId
from postroom.text.fold import fold
from postroom.text.words import cut, expand

from .query import (
    And,
    AtLeast,
    Field,
    HasAttachment,
    HasLabel,
    HasMessageId,
    InAccount,
    InFolder,
    Is,
    Leaf,
    Node,
    Not,
    Or,
    Since,
    State,
    Text,
)

MARKS = {
    Field.SUBJECT: ("s:",),
    Field.SENDER: ("f:",),
    Field.RECIPIENT: ("t:", "c:"),  # who is copied was written to as well
    Field.COPY: ("c:",),
    Field.FILENAME: ("n:",),
    Field.LIST: ("l:",),
}
ATTACHMENT = "h:attachment"
ANYWHERE = frozenset(("anywhere", "all", "any"))
MAX_LABEL = 500
"""Characters of a label's lexeme, as in `search_state`; PostgreSQL takes 2,046 bytes."""
MAX_RANKED = 32
"""Lexemes that the ranking looks at."""

Rendered = str | bool
"""A tsquery, or a constant."""


@dataclass(frozen=True, slots=True)
class Names:
    """What the names in a query mean in this tenant."""

    folders: Mapping[str, Sequence[FolderId]] = field(default_factory=dict)
    accounts: Mapping[str, Sequence[AccountId]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Compiled:
    """The arguments of `search_matches` that come from the query. `narrow` None: nothing can match."""

    loose: str | None
    narrow: str | None
    exact: str | None
    """None when narrow is exact already."""
    words: str | None
    """What to rank by; None: the newest first."""
    seen: bool | None
    flagged: bool | None
    folders: Sequence[FolderId] | None
    """It lies in one of these."""
    since: datetime | None
    until: datetime | None
    times: tuple[datetime, ...]
    """The lexeme `time:N` stands for: received at or after the Nth of these (from 1)."""
    sizes: tuple[int, ...]
    """Likewise `size:N`, at least so many bytes."""


def tenant_fact(tenant: TenantId) -> str:
    return f"o:{tenant:d}"


def account_fact(account: AccountId) -> str:
    return f"a:{account:d}"


def message_id_fact(message_id: str) -> str:
    """A hash: a Message-ID can be longer than a lexeme."""
    return "m:" + blake2b(message_id.strip(" <>").encode("utf-8", "replace"), digest_size=10).hexdigest()


def compile_query(
    node: Node, tenant: TenantId, accounts: Sequence[AccountId] | None = None, names: Names | None = None
) -> Compiled:
    """What `node` asks in this tenant, in `accounts` only unless that is None."""
    bounds = _Bounds.of(node)
    rest = And(tuple(bounds.rest))
    leaves = list(_leaves(rest))
    times = tuple(dict.fromkeys(leaf.at for leaf in leaves if isinstance(leaf, Since)))
    sizes = tuple(dict.fromkeys(leaf.size for leaf in leaves if isinstance(leaf, AtLeast)))
    names = names or Names()
    lexemes = _Lexemes(names, times, sizes)
    owners = [tenant_fact(tenant)] if accounts is None else [account_fact(account) for account in accounts]
    owned = _any([_quote(owner) for owner in owners])
    loose = _all([owned, _render(rest, lexemes.loose)])
    narrow = _all([owned, _render(rest, lexemes.narrow)])
    folders = None if bounds.folder is None else names.folders.get(bounds.folder, ())
    exact = _render(rest, lexemes.exact) if any(map(_is_made_up, leaves)) else True
    possible = exact is not False and not bounds.contradict and (folders is None or len(folders) > 0)
    return Compiled(
        loose=loose if isinstance(loose, str) else None,
        narrow=narrow if isinstance(narrow, str) and possible else None,
        exact=exact if isinstance(exact, str) else None,
        words=_ranked(leaves_wanted(node)),
        seen=bounds.states.get(State.READ),
        flagged=bounds.states.get(State.STARRED),
        folders=folders,
        since=max(bounds.since, default=None),
        until=min(bounds.until, default=None),
        times=times,
        sizes=sizes,
    )


@dataclass(slots=True)
class _Bounds:
    """What the whole query is bound to: columns answer that better than made-up lexemes."""

    since: list[datetime] = field(default_factory=list)
    until: list[datetime] = field(default_factory=list)
    states: dict[State, bool] = field(default_factory=dict)
    folder: str | None = None
    contradict: bool = False
    rest: list[Node] = field(default_factory=list)

    @classmethod
    def of(cls, node: Node) -> "_Bounds":
        bounds, todo = cls(), [node]
        while todo:
            match todo.pop():
                case And(parts):
                    todo += reversed(parts)
                case Since(at):
                    bounds.since.append(at)
                case Not(Since(at)):
                    bounds.until.append(at)
                case Is(State.READ | State.STARRED as state):
                    bounds.expect(state, truth=True)
                case Not(Is(State.READ | State.STARRED as state)):
                    bounds.expect(state, truth=False)
                case InFolder(name) if bounds.folder is None and fold(name) not in ANYWHERE:
                    bounds.folder = name
                case other:
                    bounds.rest.append(other)
        return bounds

    def expect(self, state: State, *, truth: bool) -> None:
        self.contradict |= self.states.setdefault(state, truth) != truth


def _leaves(node: Node) -> Iterator[Leaf]:
    match node:
        case And(parts) | Or(parts):
            for part in parts:
                yield from _leaves(part)
        case Not(part):
            yield from _leaves(part)
        case leaf:
            yield leaf


def leaves_wanted(node: Node) -> Iterator[Leaf]:
    """The leaves that a mail is found for, not those it must not have."""
    match node:
        case And(parts) | Or(parts):
            for part in parts:
                yield from leaves_wanted(part)
        case Not(_):
            return
        case leaf:
            yield leaf


def _is_made_up(leaf: Leaf) -> bool:
    """Whether `leaf` asks for something that the stored vector does not hold."""
    if isinstance(leaf, InFolder):
        return fold(leaf.name) not in ANYWHERE
    return isinstance(leaf, Is | HasLabel | Since | AtLeast)


@dataclass(frozen=True, slots=True)
class _Lexemes:
    """What a leaf is in a tsquery."""

    names: Names
    times: Sequence[datetime]
    sizes: Sequence[int]

    def loose(self, leaf: Leaf, wanted: bool) -> Rendered | None:
        """Likewise what depends on places: the words are there, or nothing is known."""
        exact = self.narrow(leaf, wanted)
        if not isinstance(leaf, Text):
            return exact
        anywhere = render_text(leaf, anywhere=True)
        return anywhere if wanted or anywhere == exact else False

    def narrow(self, leaf: Leaf, wanted: bool) -> Rendered | None:
        """A made-up leaf is true where it is wanted and false where it is not: both let more through."""
        return wanted if _is_made_up(leaf) else self.exact(leaf, wanted)

    def exact(self, leaf: Leaf, _wanted: bool) -> Rendered | None:
        match leaf:
            case Text():
                return render_text(leaf)
            case HasAttachment():
                return _quote(ATTACHMENT)
            case HasMessageId(message_id):
                return _quote(message_id_fact(message_id))
            case InAccount(name):
                return _any([_quote(account_fact(account)) for account in self.names.accounts.get(name, ())])
            case InFolder(name):
                return True if fold(name) in ANYWHERE else self._folders(name)
            case HasLabel(name):
                return _any([_quote(f"label:{name.lower()}"[:MAX_LABEL]), self._folders(name)])
            case Is(state):
                return _quote(f"is:{state.value}")
            case Since(at):
                return _quote(f"time:{self.times.index(at) + 1}")
            case AtLeast(size):
                return _quote(f"size:{self.sizes.index(size) + 1}")
            case _:
                assert_never(leaf)

    def _folders(self, name: str) -> Rendered:
        return _any([_quote(f"in:{folder:d}") for folder in self.names.folders.get(name, ())])


def _render(node: Node, leaf: Callable[[Leaf, bool], Rendered | None]) -> Rendered:
    rendered = _render_part(node, leaf, wanted=True)
    return True if rendered is None else rendered


def _render_part(
    node: Node, leaf: Callable[[Leaf, bool], Rendered | None], *, wanted: bool
) -> Rendered | None:
    """None for what says nothing, such as a word of punctuation."""
    match node:
        case And(parts):
            rendered = [_render_part(part, leaf, wanted=wanted) for part in parts]
            return _all([part for part in rendered if part is not None])
        case Or(parts):
            rendered = [_render_part(part, leaf, wanted=wanted) for part in parts]
            choices = [part for part in rendered if part is not None]
            return _any(choices) if choices else None
        case Not(part):
            inner = _render_part(part, leaf, wanted=not wanted)
            return inner if inner is None else not inner if isinstance(inner, bool) else f"!{inner}"
        case _:
            return leaf(node, wanted)


def _all(parts: Sequence[Rendered]) -> Rendered:
    if any(part is False for part in parts):
        return False
    return _joined([part for part in parts if isinstance(part, str)], " & ", empty=True)


def _any(parts: Sequence[Rendered]) -> Rendered:
    if any(part is True for part in parts):
        return True
    return _joined([part for part in parts if isinstance(part, str)], " | ", empty=False)


def _joined(parts: list[str], operator: str, *, empty: bool) -> Rendered:
    unique = list(dict.fromkeys(parts))
    if not unique:
        return empty
    return unique[0] if len(unique) == 1 else f"({operator.join(unique)})"


def render_text(text: Text, *, anywhere: bool = False) -> Rendered | None:
    """The tsquery of some words; None if there is no word in them, False if one cannot be in the index.

    With `anywhere` they need not stand in a row, nor where `text.field` says unless lexemes do.
    """
    places: list[tuple[str, int]] = []
    wholes: list[str | None] = []
    at = 0
    for run in cut(fold(text.text)):
        expanded = expand(run)
        if not expanded.width:
            continue
        if not expanded.parts:
            return False
        places += [(part, at + place) for place, part in enumerate(expanded.parts)]
        wholes.append(expanded.whole)
        at += expanded.width
    if not places:
        return None
    whole = wholes[0] if len(wholes) == 1 and not text.prefix else None
    return _any([_sequence(places, mark, text, whole, anywhere=anywhere) for mark in _marks(text.field)])


def _marks(where: Field | None) -> tuple[str, ...]:
    return ("",) if where is None else MARKS.get(where, ("",))


def _sequence(
    places: list[tuple[str, int]], mark: str, text: Text, whole: str | None, *, anywhere: bool
) -> Rendered:
    """The places in a row, or the whole of them as one lexeme."""
    weight = "D" if text.field is Field.BODY and not anywhere else ""
    rendered, before = "", 0
    for number, (token, place) in enumerate(places, 1):
        # In a script without spaces one character is the start of a pair.
        starts = (len(token) == 1 and token >= "\u0e01") or (text.prefix and number == len(places))
        rendered += (" & " if anywhere else f" <{place - before}> ") if rendered else ""
        rendered += _quote(mark + token, ("*" if starts else "") + weight)
        before = place
    sequence = f"({rendered})" if len(places) > 1 else rendered
    return sequence if whole is None else _any([_quote(mark + whole, weight), sequence])


def _quote(lexeme: str, suffix: str = "") -> str:
    clean = lexeme.encode("utf-8", "replace").decode().replace("\0", "")
    quoted = clean.replace("\\", "\\\\").replace("'", "''")
    return f"'{quoted}'" + (f":{suffix}" if suffix else "")


def _ranked(leaves: Iterator[Leaf]) -> str | None:
    """Any of the words wanted anywhere, in the subject or in the text."""
    words = [
        render_text(leaf)
        for leaf in leaves
        if isinstance(leaf, Text) and leaf.field in (None, Field.SUBJECT, Field.BODY)
    ]
    rendered = _any([word for word in words[:MAX_RANKED] if isinstance(word, str)])
    return rendered if isinstance(rendered, str) else None
