"""Reading what clients send: whole commands with their literals, then their arguments."""

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TypeAlias

from postroom.lab.deflate import Hears, Says

LITERAL = re.compile(rb"\{(\d+)(\+?)\}\r?\n\Z")
ATOM = re.compile(rb'[^\s()"{]+')
LONGEST_COMMAND = 1 << 20
LONGEST_LITERAL = 256 << 20

# Atoms are str, quoted strings and literals bytes, parenthesised lists list.
Argument: TypeAlias = "str | bytes | list[Argument]"


class Misread(Exception):
    """The client's command makes no sense: answered with BAD."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command, its name in capitals; `UID FETCH` is one name."""

    tag: str
    name: str
    arguments: list[Argument]


async def read_command(reader: Hears, writer: Says, largest: int = LONGEST_LITERAL) -> bytes:
    """One command with all its literals; empty at the end of the connection.

    Clients are told to go on for each literal that waits for it. Raises Misread when it is too long.
    """
    whole = bytearray()
    while True:
        line = await reader.readline()
        whole += line
        literal = LITERAL.search(line)
        if literal is None:
            return bytes(whole) if line.endswith(b"\n") else b""
        size = int(literal[1])
        if size > largest or len(whole) > LONGEST_COMMAND + LONGEST_LITERAL:
            raise Misread("that is too long")
        if not literal[2]:
            writer.write(b"+ go ahead\r\n")
            await writer.drain()
        whole += await reader.readexactly(size)


def parse(raw: bytes) -> Command:
    """Raises Misread."""
    tag, _, rest = raw.partition(b" ")
    rest = rest.removesuffix(b"\n").removesuffix(b"\r")
    arguments, end = _arguments(rest, 0, 0)
    if end < len(rest) or not arguments or not isinstance(arguments[0], str):
        raise Misread("a command is a tag, a name and arguments")
    name = text(arguments.pop(0))
    if name.upper() == "UID" and arguments and isinstance(arguments[0], str):
        name = f"UID {text(arguments.pop(0))}"
    return Command(tag.decode("ascii", "replace"), name.upper(), arguments)


def _arguments(raw: bytes, at: int, depth: int) -> tuple[list[Argument], int]:
    """Everything up to the closing parenthesis or the end, and where that is."""
    if depth > 20:
        raise Misread("too many parentheses")
    found: list[Argument] = []
    while at < len(raw):
        start = raw[at : at + 1]
        if start.isspace():
            at += 1
        elif start == b"(":
            inner, at = _arguments(raw, at + 1, depth + 1)
            if raw[at : at + 1] != b")":
                raise Misread("a parenthesis is open")
            found.append(inner)
            at += 1
        elif start == b")":
            break
        elif start == b'"':
            text, at = _quoted(raw, at)
            found.append(text)
        elif start == b"{":
            text, at = _literal(raw, at)
            found.append(text)
        else:
            end = _end_of_atom(raw, at)
            found.append(raw[at:end].decode("utf-8", "surrogateescape"))
            at = end
    return found, at


def _quoted(raw: bytes, at: int) -> tuple[bytes, int]:
    match = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL).match(raw, at)
    if match is None:
        raise Misread("a quoted string does not end")
    return re.sub(rb"\\(.)", rb"\1", match[1]), match.end()


def _literal(raw: bytes, at: int) -> tuple[bytes, int]:
    match = re.compile(rb"\{(\d+)\+?\}\r?\n").match(raw, at)
    if match is None:
        raise Misread("that is no literal")
    end = match.end() + int(match[1])
    return raw[match.end() : end], end


def _end_of_atom(raw: bytes, at: int) -> int:
    """Behind an atom; `BODY[HEADER.FIELDS (TO CC)]<0.9>` is one."""
    match = ATOM.match(raw, at)
    if match is None:
        raise Misread("that is no atom")
    end = match.end()
    opened = raw[at:end].find(b"[")
    if opened < 0 or b"]" in raw[at + opened : end]:
        return end
    closed = raw.find(b"]", at)
    if closed < 0:
        raise Misread("a bracket is open")
    tail = re.compile(rb"[^\s()]*").match(raw, closed)
    return tail.end() if tail else closed + 1


def text(argument: Argument) -> str:
    """An atom or string as text."""
    if isinstance(argument, list):
        raise Misread("a string was expected, not a list")
    return argument.decode("utf-8", "surrogateescape") if isinstance(argument, bytes) else argument


def texts(argument: Argument) -> list[str]:
    """A list of atoms or strings, or just one."""
    return [text(each) for each in argument] if isinstance(argument, list) else [text(argument)]


def numbers(text_of_set: str, existing: list[int]) -> list[int]:
    """The members of `existing` (ascending) that a set such as `1:3,7,*` names."""
    last = existing[-1] if existing else 0
    found: set[int] = set()
    for piece in text_of_set.split(","):
        first, _, second = piece.partition(":")
        try:
            low, high = (last if n == "*" else int(n) for n in (first, second or first))
        except ValueError as error:
            raise Misread(f"{text_of_set} is no set of numbers") from error
        low, high = min(low, high), max(low, high)
        found.update(existing[bisect_left(existing, low) : bisect_right(existing, high)])
    return sorted(found)


def compressed(uids: list[int]) -> str:
    """[1, 2, 3, 7] -> `1:3,7`."""
    runs: list[list[int]] = []
    for uid in uids:
        if runs and runs[-1][1] == uid - 1:
            runs[-1][1] = uid
        else:
            runs.append([uid, uid])
    return ",".join(f"{a}:{b}" if b > a else str(a) for a, b in runs)


def quoted(name: str) -> bytes:
    """As a quoted string, or as a literal where a quoted string may not hold it."""
    raw = name.encode("utf-8", "surrogateescape")
    if any(byte in raw for byte in b"\r\n\0"):
        return b"{%d}\r\n%s" % (len(raw), raw)
    return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
