"""Commands that we can send, built from typed arguments.

Folder names and search texts are bytes and always travel as strings, never as atoms. CR, LF and NUL are
refused in every argument, so that one call is one command on the wire. Arguments that are syntax
(flags, fetch items, search keys) are checked against their grammar.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from . import dates
from .errors import LocalError
from .uids import UidSet

FLAG = re.compile(r"\\?[^\x00-\x20\x7f(){}%*\"\\\[\]]+\Z")
FETCH_ITEM = re.compile(r"[A-Za-z0-9.\-]+(?:\[[A-Za-z0-9.\- ()]*\])?(?:<\d+\.\d+>)?\Z")
SEARCH_KEY = re.compile(r"[A-Za-z0-9.:,*$+_\-]+\Z|[()]\Z")
WORD = re.compile(r"[A-Za-z0-9.=+_\-]+\Z")
FORBIDDEN = re.compile(rb"[\r\n\x00]")
QUOTABLE = re.compile(rb"[\x20-\x7e\t]{0,1000}\Z")


@dataclass(frozen=True, slots=True)
class Literal:
    """Bytes that travel as a literal; how it is announced is decided when the command is sent."""

    data: bytes


Piece = bytes | Literal


class Dialogue(Protocol):
    """What AUTHENTICATE says to the server's challenges; for one login."""

    @property
    def refusal(self) -> str | None:
        """The server's word for why it refuses; None: it gave none."""
        ...

    def answer(self, challenge: bytes) -> bytes:
        """Both as they travel, in base64. The first one answers nothing. Raises `RemoteError`."""
        ...

    def finish(self) -> None:
        """The server says OK. Raises `RemoteError` if that is not for it to say yet."""
        ...


@dataclass(frozen=True, slots=True)
class Command:
    """One command without its tag. Its arguments are in no repr: they may be secrets, and they are large."""

    name: str
    pieces: tuple[Piece, ...] = field(repr=False)
    answers: tuple[bytes, ...] = field(default=(), repr=False)  # one line for each challenge of the server
    dialogue: Dialogue | None = field(default=None, repr=False, compare=False)  # in place of answers
    secrets: tuple[bytes, ...] = field(default=(), repr=False)  # shown nowhere, not even if the server does
    alone: bool = False  # nothing else may be under way beside it
    folder: bytes | None = None  # that SELECT and EXAMINE open
    words: frozenset[str] = frozenset()  # what ENABLE asks for


@dataclass(frozen=True, slots=True)
class Events:
    """What NOTIFY asks to be told of, and where (RFC 5465, 5 and 6).

    `where` is `personal`, `inboxes`, `subscribed`, `selected`, `selected-delayed`, or, with `folders`,
    `mailboxes` or `subtree`; of the folder that is selected only `selected` tells.
    """

    where: str
    events: Sequence[str]  # such as `MessageNew`, which cannot be without `MessageExpunge`
    folders: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """What we remember of a folder, for SELECT with QRESYNC (RFC 7162)."""

    validity: int
    modseq: int
    uids: UidSet | None = None


def capability() -> Command:
    return _command("CAPABILITY")


def noop() -> Command:
    return _command("NOOP")


def logout() -> Command:
    return _command("LOGOUT", alone=True)


def starttls() -> Command:
    return _command("STARTTLS", alone=True)


def compress() -> Command:
    """COMPRESS (RFC 4978). Nothing is sent behind it before its answer; what follows is compressed."""
    return _command("COMPRESS", b"DEFLATE", alone=True)


def identify(**fields: str) -> Command:
    """ID (RFC 2971). Some servers refuse SELECT until they were told a name."""
    pairs = [piece for key, value in fields.items() for piece in (string(key), b" ", string(value), b" ")]
    return _command("ID", b"(", *pairs[:-1], b")") if pairs else _command("ID", b"NIL")


def namespace() -> Command:
    return _command("NAMESPACE")


def enable(*extensions: str) -> Command:
    asked = frozenset(extension.upper() for extension in extensions)
    return Command("ENABLE", (_words(extensions),), alone=True, words=asked)


def list_folders(
    pattern: bytes = b"*",
    *,
    reference: bytes = b"",
    special_use: bool = False,
    subscribed: bool = False,
    status: Sequence[str] = (),
) -> Command:
    """LIST. The options need SPECIAL-USE, LIST-EXTENDED, LIST-STATUS; without any it is the plain form."""
    wanted = ["SPECIAL-USE"] * special_use + ["SUBSCRIBED"] * subscribed
    options = b" ".join(
        [_words(wanted)] * bool(wanted) + [b"STATUS (" + _words(status) + b")"] * bool(status)
    )
    returning = (b" RETURN (" + options + b")",) if options else ()
    return _command("LIST", string(reference), b" ", string(pattern), *returning)


def lsub(pattern: bytes = b"*", *, reference: bytes = b"") -> Command:
    return _command("LSUB", string(reference), b" ", string(pattern))


def status(folder: bytes, items: Sequence[str]) -> Command:
    return _command("STATUS", string(folder), b" (", _words(items), b")")


def select(
    folder: bytes, *, read_only: bool = False, condstore: bool = False, known: Known | None = None
) -> Command:
    """Open `folder`. `known` asks for a quick resynchronisation; QRESYNC must be enabled before."""
    parameters = b""
    if known is not None:
        uids = f" {known.uids}" if known.uids else ""
        parameters = f" (QRESYNC ({known.validity} {known.modseq}{uids}))".encode()
    elif condstore:
        parameters = b" (CONDSTORE)"
    name = "EXAMINE" if read_only else "SELECT"
    return _command(name, string(folder), parameters, alone=True, folder=folder)


def idle() -> Command:
    """IDLE (RFC 2177): the server tells what changes as it happens, until `Connection.done`."""
    return Command("IDLE", (), answers=(b"DONE",), alone=True)


def notify(*groups: Events, status: bool = False) -> Command:
    """NOTIFY SET (RFC 5465); with `status` the server first tells how every folder stands. None: be quiet."""
    if not groups:
        return _command("NOTIFY", b"NONE")
    pieces: list[Piece] = [b"SET STATUS" if status else b"SET"]
    for group in groups:
        pieces.append(b" (" + _words([group.where]))
        for number, folder in enumerate(group.folders):
            pieces += [b" " if number else b" (", string(folder)]
        pieces.append((b")" if group.folders else b"") + b" (" + _words(group.events) + b"))")
    return _command("NOTIFY", *pieces, alone=True)


def close() -> Command:
    """Expunges what is marked deleted, unless the folder was opened read-only; see `unselect`."""
    return _command("CLOSE", alone=True)


def unselect() -> Command:
    return _command("UNSELECT", alone=True)


def create(folder: bytes) -> Command:
    return _command("CREATE", string(folder))


def delete(folder: bytes) -> Command:
    return _command("DELETE", string(folder))


def rename(folder: bytes, new: bytes) -> Command:
    return _command("RENAME", string(folder), b" ", string(new))


def subscribe(folder: bytes) -> Command:
    return _command("SUBSCRIBE", string(folder))


def unsubscribe(folder: bytes) -> Command:
    return _command("UNSUBSCRIBE", string(folder))


def uid_fetch(
    uids: UidSet | str, items: Sequence[str], *, changed_since: int | None = None, vanished: bool = False
) -> Command:
    """UID FETCH; `uids` may also be a range such as `1:*`. UID is always among the items.

    :raises LocalError: `changed_since` 0, which some servers answer with everything and some with an error.
    """
    wanted = ["UID", *(item for item in items if item.upper() != "UID")]
    modifier = b""
    if changed_since is not None:
        if changed_since <= 0:
            raise LocalError("CHANGEDSINCE needs a modseq above 0")
        modifier = f" (CHANGEDSINCE {changed_since}{' VANISHED' if vanished else ''})".encode()
    return _command("UID FETCH", _set(uids), b" (", _checked(FETCH_ITEM, wanted), b")", modifier)


def uid_search(*keys: str | bytes, returning: Sequence[str] | None = None) -> Command:
    """UID SEARCH: words of the grammar as str, texts as bytes: `uid_search("SUBJECT", b"minutes")`.

    A group of keys stands between `"("` and `")"`, words of their own.

    With `returning` (`ALL`, `COUNT`, `MIN`, `MAX`) as RFC 4731; the answer may still be a plain SEARCH.
    """
    _check_balance(key for key in keys if isinstance(key, str))
    options = b"RETURN (" + _words(returning) + b") " if returning is not None else b""
    texts = [key for key in keys if isinstance(key, bytes)]
    charset = b"" if all(text.isascii() for text in texts) else b"CHARSET UTF-8 "
    pieces: list[Piece] = [options + charset]
    for key in keys:
        pieces += [string(key) if isinstance(key, bytes) else _checked(SEARCH_KEY, [key]), b" "]
    return _command("UID SEARCH", *pieces[:-1])


def uid_store(
    uids: UidSet,
    action: str,
    flags: Iterable[str],
    *,
    silent: bool = True,
    unchanged_since: int | None = None,
) -> Command:
    """UID STORE; `action` is `+`, `-` or `` (replace). `X-GM-LABELS` are `uid_store_labels`.

    With `unchanged_since` the code MODIFIED names what was left alone.
    """
    if action not in {"+", "-", ""}:
        raise LocalError(f"no such action: {action!r}")
    modifier = f"(UNCHANGEDSINCE {unchanged_since}) " if unchanged_since is not None else ""
    item = f" {modifier}{action}FLAGS{'.SILENT' if silent else ''} ("
    return _command("UID STORE", _set(uids), item.encode(), _checked(FLAG, flags), b")")


def uid_store_labels(uids: UidSet, action: str, labels: Iterable[bytes]) -> Command:
    """Gmail's labels, in modified UTF-7; `action` is `+`, `-` or `` (replace)."""
    if action not in {"+", "-", ""}:
        raise LocalError(f"no such action: {action!r}")
    pieces = [piece for label in labels for piece in (string(label), b" ")][:-1]
    return _command("UID STORE", _set(uids), f" {action}X-GM-LABELS.SILENT (".encode(), *pieces, b")")


def uid_copy(uids: UidSet, folder: bytes) -> Command:
    return _command("UID COPY", _set(uids), b" ", string(folder))


def uid_move(uids: UidSet, folder: bytes) -> Command:
    return _command("UID MOVE", _set(uids), b" ", string(folder))


def uid_expunge(uids: UidSet) -> Command:
    """Only these (UIDPLUS). There is no plain EXPUNGE here: it removes other clients' mail."""
    return _command("UID EXPUNGE", _set(uids))


def append(
    folder: bytes, message: bytes, *, flags: Iterable[str] = (), received: datetime | None = None
) -> Command:
    """APPEND; `received` becomes the INTERNALDATE. A NUL in `message` is refused, as IMAP cannot carry it."""
    if b"\x00" in message:
        raise LocalError("APPEND cannot carry a NUL")
    options = b" (" + _checked(FLAG, flags) + b")"
    if received is not None:
        options += b' "' + dates.write(received) + b'"'
    return _command("APPEND", string(folder), options, b" ", Literal(message))


def can_be_sent(raw: bytes) -> bool:
    """Whether `string` takes this. A server's list may hold other names: a literal holds anything."""
    return FORBIDDEN.search(raw) is None


def string(value: bytes | str) -> Piece:
    """`value` quoted where the grammar allows it, otherwise a literal.

    :raises LocalError: it holds CR, LF, NUL or half a character; the message does not repeat it.
    """
    raw = octets(value) if isinstance(value, str) else value
    if not can_be_sent(raw):
        raise LocalError("an argument holds a line end or a NUL")
    if QUOTABLE.match(raw):
        return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    return Literal(raw)


def octets(text: str) -> bytes:
    """In UTF-8. A lone surrogate, which JSON can hold, has none there: LocalError."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise LocalError("an argument holds half a character") from None


def encode(command: Command, tag: bytes, non_sync: int) -> list[bytes]:
    """The bytes to send, in parts: before each part after the first the server must invite us to go on.

    Literals of up to `non_sync` bytes are sent without asking (LITERAL+ and LITERAL-, RFC 7888).
    """
    parts = [bytearray(tag + b" " + command.name.encode() + b" ")]
    for piece in command.pieces:
        if isinstance(piece, bytes):
            parts[-1] += piece
            continue
        if len(piece.data) <= non_sync:
            parts[-1] += b"{%d+}\r\n" % len(piece.data)
        else:
            parts[-1] += b"{%d}\r\n" % len(piece.data)
            parts.append(bytearray())
        parts[-1] += piece.data
    if not command.pieces:
        del parts[0][-1:]
    parts[-1] += b"\r\n"
    return [bytes(part) for part in parts]


def _command(name: str, *pieces: Piece, alone: bool = False, folder: bytes | None = None) -> Command:
    return Command(name, pieces, alone=alone, folder=folder)


def _set(uids: UidSet | str) -> bytes:
    written = str(uids)
    if not re.fullmatch(r"(?:\d+|\*)(?::(?:\d+|\*))?(?:,(?:\d+|\*)(?::(?:\d+|\*))?)*", written, re.ASCII):
        raise LocalError("a command needs at least one UID")
    return written.encode()


def _checked(grammar: re.Pattern[str], words: Iterable[str]) -> bytes:
    found = list(words)
    for word in found:
        if not grammar.match(word) or not word.isascii():
            raise LocalError(f"not allowed in a command: {word!r}")
    return " ".join(found).encode()


def _check_balance(keys: Iterable[str]) -> None:
    depth = 0
    for key in keys:
        depth += (key == "(") - (key == ")")
        if depth < 0:
            break
    if depth:
        raise LocalError("the parentheses of a search do not match")


def _words(words: Iterable[str]) -> bytes:
    return _checked(WORD, words)
