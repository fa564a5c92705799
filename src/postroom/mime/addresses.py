"""Address lists (RFC 5322, 3.4) as people's programs write them. Linear, never raises.

The structure is read before encoded words are decoded: a decoded comma or `@` is part of a name, never
syntax. What can be read in two ways (CVE-2023-27043 and its like) is read strictly and reported, so that
nobody builds trust on it.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache

from postroom.mime.limits import ADDRESSES
from postroom.mime.model import Address
from postroom.mime.words import decode_words

SHORT = 200  # characters; longer lists are not remembered
PLAIN = r'[^\s<>@,:;()"\\\[\]]++'
# `Name <a@b>` or `a@b`, and the comma after it: nearly all of real mail.
SIMPLE = re.compile(
    rf'\s*+(?:(?:"([^"\\]*+)"|([^"<>@,:;()\\\[\]]*+))\s*+<({PLAIN})@({PLAIN})>|({PLAIN})@({PLAIN}))\s*+(?:,|\Z)'
)
TOKEN = re.compile(
    r"=\?[^?\s]{1,40}+\?[bBqQ]\?[^?\s]{0,1000}+\?="  # an encoded word, whatever it holds
    r'|"(?:[^"\\]++|\\.)*+"|\\.|\s++|[,;][,;\s]*+|[^\s(),:;<>@\[\]"\\]++|.',
    re.DOTALL,
)
LOOKS_LIKE_ADDRESS = re.compile(r"(?<![^\s@<>\"'])[^\s@<>\"']++@[^\s@<>\"']++")


def parse(value: str, ambiguous: str, defects: set[str]) -> tuple[Address, ...]:
    """All mailboxes of `value`; `ambiguous` is the defect to report when it can be read in two ways."""
    if len(value) > SHORT:
        return _parse(value, ambiguous, defects)
    found, problems = _remembered(value, ambiguous)
    defects |= problems
    return found


@lru_cache(maxsize=1024)
def _remembered(value: str, ambiguous: str) -> tuple[tuple[Address, ...], frozenset[str]]:
    """The same few people write most of a mailbox, and one owns it."""
    defects: set[str] = set()
    return _parse(value, ambiguous, defects), frozenset(defects)


def _parse(value: str, ambiguous: str, defects: set[str]) -> tuple[Address, ...]:
    found: list[Address] = []
    at, end = 0, len(value)
    while at < end:
        match = SIMPLE.match(value, at)
        if match is None:
            if value[at:].isspace():
                break
            found += _Reader(ambiguous, defects).read(value[at:], ADDRESSES + 1 - len(found))
            break
        quoted, phrase, local, domain, bare_local, bare_domain = match.groups()
        if local is None:
            found.append(Address("", f"{bare_local}@{bare_domain.lower()}"))
        else:
            name = _Name.read(quoted or phrase or "", defects)
            found.append(_mailbox(name, f"{local}@{domain}", ambiguous, defects))
        at = match.end()
        if len(found) > ADDRESSES:
            break
    if len(found) > ADDRESSES:
        defects.add("addresses.too_many")
        del found[ADDRESSES:]
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Name:
    """A display name, decoded, and the address that it looks like. Several mailboxes may share a long one."""

    text: str
    claim: str | None

    @classmethod
    def read(cls, written: str, defects: set[str]) -> "_Name":
        text = decode_words(written, defects) if "=?" in written else written
        text = " ".join(text.split())
        if len(text) > 1 and text[0] == text[-1] == "'":
            text = text[1:-1].strip()
        claim = LOOKS_LIKE_ADDRESS.search(text) if "@" in text else None
        return cls(text, claim[0].lower() if claim else None)


def _mailbox(name: _Name, spec: str, ambiguous: str, defects: set[str]) -> Address:
    local, at, domain = spec.rpartition("@")
    address = f"{local}@{domain.lower()}" if at else spec
    if "@" in local and not local.startswith('"'):
        defects.add(ambiguous)
    if name.claim and name.claim != address.lower():
        defects.add(ambiguous)
    return Address(name.text, address)


@dataclass(slots=True)
class _Word:
    """Tokens that stood together. Whether one is `@` is known without a look at all of them."""

    tokens: list[str] = field(default_factory=list)
    has_at: bool = False

    def add(self, token: str) -> None:
        self.tokens.append(token)
        self.has_at = self.has_at or token == "@"

    def spec(self) -> str:
        return "".join(self.tokens)

    def shown(self) -> str:
        """Without quotes and escapes."""
        return "".join(
            re.sub(r"\\(.)", r"\1", token[1:-1] if token[0] == '"' and len(token) > 1 else token)
            for token in self.tokens
        )


@dataclass(slots=True)
class _Reader:
    """Reads token by token what `SIMPLE` cannot: groups, comments, routes, quoted local parts, nonsense."""

    ambiguous: str
    defects: set[str]
    found: list[Address] = field(default_factory=list)
    words: list[_Word] = field(default_factory=list)  # outside <>
    comments: list[str] = field(default_factory=list)
    angle: list[str] | None = None  # tokens inside <>
    inside: bool = False  # between < and >
    depth: int = 0  # of comments
    spaced: bool = True  # white space came before this token
    most: int = ADDRESSES  # mailboxes that are wanted

    def read(self, value: str, most: int) -> list[Address]:
        self.most = most
        for match in TOKEN.finditer(value):
            token = match[0]
            if self.depth or token == "(":
                self._comment(token)
            elif token.isspace():
                self.spaced = True
            elif self.inside:
                self._in_angle(token)
            else:
                self._outside(token)
            if len(self.found) >= most:
                return self.found
        self._end()
        return self.found

    def _comment(self, token: str) -> None:
        if token == "(":
            self.depth += 1
        elif token == ")":
            self.depth -= 1
        if self.depth and not (token == "(" and self.depth == 1):
            self.comments.append(token)
        self.spaced = True

    def _in_angle(self, token: str) -> None:
        angle = self.angle if self.angle is not None else []
        if token == ">":
            self.inside = False
        elif token == "<":
            self.defects.add(self.ambiguous)
            angle.clear()
        elif token == ":" and angle[:1] == ["@"]:  # the end of a route, `<@a,@b:c@d>`
            angle.clear()
        elif token[0] in ",;" and angle[:1] != ["@"]:
            self.defects.add(self.ambiguous)
            self.inside = False
            self._end()
        else:
            angle.append(token)

    def _outside(self, token: str) -> None:
        if token[0] in ",;":
            self._end()
        elif token == ":" and not self._has_at():
            self.words.clear()  # it was the name of a group
        elif token == "<":
            if self.angle is not None:
                self.defects.add(self.ambiguous)
                self._end()
            self.angle, self.inside = [], True
        elif token == ">":
            self.defects.add(self.ambiguous)
        else:
            if self.angle is not None:
                self.defects.add(self.ambiguous)
            self._word(token)
        self.spaced = False

    def _word(self, token: str) -> None:
        last = self.words[-1] if self.words else _Word()
        end = last.tokens[-1] if last.tokens else ""
        dotted = last.has_at and (token[0] == "." or end[-1] == ".")  # `jdoe@test . example`
        if end and (not self.spaced or dotted or token == "@" or end == "@"):
            last.add(token)
        else:
            self.words.append(_Word([token], token == "@"))

    def _has_at(self) -> bool:
        return any(word.has_at for word in self.words[-2:])

    def _end(self) -> None:
        """One mailbox is complete, or several that nothing parts."""
        words, angle = self.words, self.angle
        comment = "".join(self.comments).strip() if self.comments else ""
        self.words, self.angle, self.comments, self.inside, self.spaced = [], None, [], False, True
        if angle is not None:
            name = _Name.read(" ".join(word.shown() for word in words) or comment, self.defects)
            self.found.append(_mailbox(name, "".join(angle), self.ambiguous, self.defects))
            return
        specs = [word.spec() for word in words if word.has_at]
        written = " ".join(word.shown() for word in words if not word.has_at) or comment
        if len(specs) > 1 or (specs and len(words) > 1):
            self.defects.add(self.ambiguous)
        if not words or not (specs or written):  # a comment alone is nobody
            return
        name = _Name.read(written, self.defects)
        for spec in (specs or [""])[: self.most - len(self.found)]:
            self.found.append(_mailbox(name, spec, self.ambiguous, self.defects))
