"""Read a query as people type it into a tree. Pure; the grammar is told in docs/reference/search.md.

    any    ::= all { "OR" all }
    all    ::= term { ["AND"] term }
    term   ::= ("-" | "NOT ") term | "(" any ")" | operator ":" ( value | "(" any ")" ) | phrase | word["*"]

Any text is a query: what does not fit the grammar is read as words, an open quote or parenthesis closes at
the end, one too many is ignored. Only a value that would silently mean something else is refused (a date
that is none, an `is:` nobody knows), with its place.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from .model import BadQuery
from .values import day, days, span, volume

MAX_LENGTH = 2_000
MAX_DEPTH = 30
"""Parentheses and negations inside each other; deeper ones are ignored."""


class Field(Enum):
    SENDER = "from"
    RECIPIENT = "to"
    COPY = "cc"
    SUBJECT = "subject"
    BODY = "body"
    FILENAME = "filename"
    LIST = "list"


class State(Enum):
    """What changes in the life of a mail."""

    READ = "read"
    STARRED = "starred"
    ANSWERED = "answered"
    DRAFT = "draft"


@dataclass(frozen=True, slots=True)
class Text:
    """Words in this order; the last may go on when `prefix`."""

    text: str
    field: Field | None = None
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Is:
    state: State


@dataclass(frozen=True, slots=True)
class HasAttachment:
    pass


@dataclass(frozen=True, slots=True)
class InFolder:
    name: str


@dataclass(frozen=True, slots=True)
class HasLabel:
    name: str


@dataclass(frozen=True, slots=True)
class InAccount:
    name: str


@dataclass(frozen=True, slots=True)
class HasMessageId:
    message_id: str


@dataclass(frozen=True, slots=True)
class Since:
    """Received at or after."""

    at: datetime


@dataclass(frozen=True, slots=True)
class AtLeast:
    size: int
    """In bytes."""


Leaf = Text | Is | HasAttachment | InFolder | HasLabel | InAccount | HasMessageId | Since | AtLeast


@dataclass(frozen=True, slots=True)
class Not:
    part: "Node"


@dataclass(frozen=True, slots=True)
class And:
    """All of them; without any, every mail."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple["Node", ...]


Node = Leaf | Not | And | Or

FIELDS = {field.value: field for field in Field}
STATES: dict[str, Node] = {
    "read": Is(State.READ),
    "seen": Is(State.READ),
    "unread": Not(Is(State.READ)),
    "unseen": Not(Is(State.READ)),
    "starred": Is(State.STARRED),
    "flagged": Is(State.STARRED),
    "unstarred": Not(Is(State.STARRED)),
    "answered": Is(State.ANSWERED),
    "replied": Is(State.ANSWERED),
    "unanswered": Not(Is(State.ANSWERED)),
    "draft": Is(State.DRAFT),
}
VALUE_OPERATORS = {
    "has", "is", "in", "label", "account", "rfc822msgid", "before", "after", "on", "older", "newer",
    "older_than", "newer_than", "larger", "smaller",
}  # fmt: skip

_QUOTES = {'"': '"', "\u201c": "\u201d", "\u201e": "\u201c", "\u00ab": "\u00bb"}
_WORD = re.compile(r"[^\s()\"]+")
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<open>\() | (?P<close>\))
      | (?P<minus>-(?=[^\s)]))
      | (?P<operator>[A-Za-z0-9_]{2,12}):(?=[^\s)])
      | (?P<quote>["\u201c\u201e\u00ab])
      | (?P<word>[^\s()"\u201c\u201e\u00ab]+)
    )""",
    re.VERBOSE,
)


def parse(query: str, now: datetime) -> Node:
    """The tree of `query`. `now` is what `older:` counts from, its time zone the one that days are in.

    Raises BadQuery.
    """
    if len(query) > MAX_LENGTH:
        raise BadQuery(
            f"A query can have {MAX_LENGTH} characters; this one has {len(query)}.",
            position=MAX_LENGTH,
            length=len(query) - MAX_LENGTH,
        )
    return _Parser(query, now).any(0)


class _Parser:
    def __init__(self, query: str, now: datetime) -> None:
        self._query, self._now = query, now
        self._at = 0

    def any(self, depth: int) -> Node:
        """Everything up to the parenthesis that closes this level, or the end."""
        choices: list[Node] = []
        parts: list[Node] = []
        while (match := _TOKEN.match(self._query, self._at)) is not None:
            if match["close"]:
                self._at = match.end()
                if depth:
                    break
            elif match["word"] in ("OR", "|", "||"):
                self._at = match.end()
                choices += _all(parts)
                parts = []
            elif match["word"] in ("AND", "&", "&&"):
                self._at = match.end()
            else:
                parts += self._term(match, depth)
        choices += _all(parts)
        return choices[0] if len(choices) == 1 else Or(tuple(choices)) if choices else And(())

    def _term(self, match: re.Match[str], depth: int) -> list[Node]:
        """The nodes of what begins at `match`: none or one."""
        negated = False
        while match["minus"] or match["word"] == "NOT":
            negated = not negated
            self._at = match.end()
            following = _TOKEN.match(self._query, self._at)
            if following is None or following["close"] or following["word"] in ("OR", "|", "||", "AND"):
                return [] if match["minus"] else [Text(match["word"])]
            match = following
        self._at = match.end()
        node = self._atom(match, depth)
        if node is None:
            return []
        return [Not(node) if negated else node]

    def _atom(self, match: re.Match[str], depth: int) -> Node | None:
        if match["open"]:
            return self._group(depth)
        if match["quote"]:
            return Text(self._quoted(match["quote"]))
        if match["word"]:
            return _word(match["word"])
        name = match["operator"].lower()
        if name in FIELDS:
            return self._in_field(FIELDS[name], depth)
        if name in VALUE_OPERATORS:
            return self._valued(name, depth)
        self._at = match.start("operator")
        word = _WORD.match(self._query, self._at)
        assert word is not None  # an operator is a word
        self._at = word.end()
        return _word(word[0])

    def _group(self, depth: int) -> Node | None:
        if depth >= MAX_DEPTH:
            return None
        node = self.any(depth + 1)
        return None if node == And(()) else node

    def _in_field(self, field: Field, depth: int) -> Node | None:
        match = _TOKEN.match(self._query, self._at)
        if match is not None and match["open"]:
            self._at = match.end()
            group = self._group(depth)
            return None if group is None else _within(group, field)
        text, prefix = self._value()
        return Text(text, field, prefix)

    def _value(self) -> tuple[str, bool]:
        """A quoted text, or everything up to a space; and whether a star ended it."""
        opening = self._query[self._at]
        if opening in _QUOTES:
            self._at += 1
            return self._quoted(opening), False
        match = _WORD.match(self._query, self._at)
        assert match is not None  # what follows an operator is no space
        self._at = match.end()
        word = _word(match[0])
        return word.text, word.prefix

    def _quoted(self, opening: str) -> str:
        ends = {self._query.find(mark, self._at) for mark in (_QUOTES[opening], '"')} - {-1}
        end = min(ends, default=len(self._query))
        text = self._query[self._at : end]
        self._at = end + 1
        return text

    def _valued(self, name: str, depth: int) -> Node | None:
        start = self._at
        match = _TOKEN.match(self._query, self._at)
        if match is not None and match["open"]:
            self._at = match.end()
            group = self._group(depth)
            return None if group is None else self._meant(name, start, group)
        value = Text(self._value()[0])
        return self._meant(name, start, value) if value.text.strip() else Text(name)

    def _meant(self, name: str, start: int, node: Node) -> Node:
        """`node` with its bare words as values of an operator. Raises BadQuery for what began at `start`."""

        def meaning(text: Text) -> Node:
            value = text.text.strip()
            try:
                return self._meaning(name, value) if value else text
            except ValueError as error:
                raise BadQuery(
                    f"{name}:{value} cannot be understood: {error}.",
                    position=start,
                    length=self._at - start,
                ) from error

        return _each_word(node, meaning)

    def _meaning(self, name: str, value: str) -> Node:
        match name:
            case "is":
                return _known(STATES, value)
            case "has":
                return _known(dict.fromkeys(("attachment", "attachments", "file"), HasAttachment()), value)
            case "in":
                return InFolder(value)
            case "label":
                return HasLabel(value)
            case "account":
                return InAccount(value)
            case "rfc822msgid":
                return HasMessageId(value)
            case "larger":
                return AtLeast(volume(value))
            case "smaller":
                return Not(AtLeast(volume(value)))
        return self._time(name, value)

    def _time(self, name: str, value: str) -> Node:
        match name:
            case "before":
                return Not(Since(day(value, self._now)))
            case "after":
                return Since(day(value, self._now))
            case "on":
                first, past = days(value, self._now)
                return And((Since(first), Not(Since(past))))
            case "newer" | "newer_than":
                return Since(span(value, self._now))
            case _:
                return Not(Since(span(value, self._now)))


def _word(word: str) -> Text:
    stem = word.rstrip("*")
    return Text(stem, prefix=stem != word and bool(stem))


def _all(parts: list[Node]) -> list[Node]:
    """`parts` as one node, or nothing."""
    return parts if len(parts) < 2 else [And(tuple(parts))]


def _known(values: dict[str, Node], value: str) -> Node:
    if (node := values.get(value.lower())) is None:
        raise ValueError("it can be " + ", ".join(values))
    return node


def _within(node: Node, field: Field) -> Node:
    """`node` with its bare words looked for in `field`."""
    return _each_word(node, lambda text: replace(text, field=field))


def _each_word(node: Node, meaning: Callable[[Text], Node]) -> Node:
    """`node` with what its bare words mean in their place."""
    match node:
        case And(parts):
            return And(tuple(_each_word(part, meaning) for part in parts))
        case Or(parts):
            return Or(tuple(_each_word(part, meaning) for part in parts))
        case Not(part):
            return Not(_each_word(part, meaning))
        case Text(field=None):
            return meaning(node)
        case _:
            return node
