"""The words in which scenarios are written, and who can carry them out.

before    INBOX a b+seen c | Work d | Empty              folders, and what lies in them
happens   deliver INBOX e+flagged                        new mail
          flag INBOX a +seen -flagged                    flags given and taken
          expunge INBOX a b        empty INBOX           gone for good: these, or all
          move INBOX a b -> Work   copy INBOX a -> Work
          create Work   delete Work   hollow Work        `hollow`: a mere name now, which holds no mail
          rename Work -> Done                            with all that lies below it
          renumber INBOX           shuffle INBOX         another UIDVALIDITY; also another order
          backwards INBOX                                a modification sequence that starts again

A word names a mail, and the same word the same bytes. `a'` has the Message-ID of `a` and other content, `-a`
has none, `big...` is large. `~` in the name of a folder is a space. Steps are told apart by semicolons.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

FLAGS = {
    "seen": "\\Seen",
    "answered": "\\Answered",
    "flagged": "\\Flagged",
    "deleted": "\\Deleted",
    "draft": "\\Draft",
    "forwarded": "$Forwarded",
    "later": "later",
}
LARGE = 3000  # bytes of a large mail's text


class World(Protocol):
    """Something in which the steps can happen. A word that lies there twice means the one that came first."""

    def create(self, folder: str) -> None: ...
    def delete(self, folder: str) -> None: ...
    def hollow(self, folder: str) -> None: ...
    def rename(self, folder: str, name: str) -> None: ...
    def deliver(self, folder: str, word: str, flags: frozenset[str]) -> None: ...
    def flag(self, folder: str, word: str, given: frozenset[str], taken: frozenset[str]) -> None: ...
    def expunge(self, folder: str, words: Sequence[str]) -> None: ...
    def copy(self, folder: str, words: Sequence[str], target: str) -> None: ...
    def move(self, folder: str, words: Sequence[str], target: str) -> None: ...
    def empty(self, folder: str) -> None: ...
    def renumber(self, folder: str, *, reverse: bool) -> None: ...
    def backwards(self, folder: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of a table."""

    name: str
    before: str
    happens: str = ""
    meanwhile: str = ""  # happens at the very moment at which the sync is interrupted
    is_first: bool = False  # nothing was copied before: the first sync is the one that is interrupted
    largest: int | None = None  # bytes; what is larger is parked
    fault: str | None = None  # of the lab server
    validity: int | None = None  # of every folder: there are servers that give all the same one


def lay(before: str, *worlds: World) -> None:
    """Make the folders and the mail that are there before anything happens."""
    for part in before.split("|"):
        name, *mails = part.split()
        for world in worlds:
            if name != "INBOX":
                world.create(_folder(name))
            for mail in mails:
                word, *flags = mail.split("+")
                world.deliver(_folder(name), word, _flags(flags))


def carry_out(steps: str, *worlds: World) -> None:
    """Let the steps happen, one after the other."""
    for step in filter(None, map(str.strip, steps.split(";"))):
        verb, *words = step.split()
        for world in worlds:
            _carry_out(world, verb, words)


def _carry_out(world: World, verb: str, words: list[str]) -> None:
    folder, rest = _folder(words[0]), words[1:]
    match verb:
        case "create" | "delete" | "hollow" | "empty" | "backwards":
            getattr(world, verb)(folder)
        case "rename":
            world.rename(folder, _folder(rest[1]))
        case "renumber" | "shuffle":
            world.renumber(folder, reverse=verb == "shuffle")
        case "deliver":
            for word, *flags in (mail.split("+") for mail in rest):
                world.deliver(folder, word, _flags(flags))
        case "flag":
            given = _flags(word[1:] for word in rest[1:] if word[0] == "+")
            world.flag(folder, rest[0], given, _flags(word[1:] for word in rest[1:] if word[0] == "-"))
        case "expunge":
            world.expunge(folder, rest)
        case "move" | "copy":
            getattr(world, verb)(folder, rest[:-2], _folder(rest[-1]))
        case _:
            raise ValueError(f"{verb} is no step")


@cache
def raw(word: str) -> bytes:
    """The bytes of a mail. No two have the same size, unless their words differ only in letters of a row."""
    lines = ["From: Ann <ann@example.org>", "To: robin@lab.example", f"Subject: {word}"]
    if not word.startswith("-"):
        lines.append(f"Message-ID: <{word.rstrip(chr(39))}@lab.example>")
    text = (
        f"This is {word}." + "x" * (sum(word.encode()) % 97) + ("x" * LARGE if word.startswith("big") else "")
    )
    return "\r\n".join([*lines, "", text, ""]).encode()


def _folder(word: str) -> str:
    return word.replace("~", " ")


def _flags(words: Iterable[str]) -> frozenset[str]:
    return frozenset(FLAGS[word] for word in words)
