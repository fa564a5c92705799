"""What a test does to a mailbox from the other side: as another client, by the standard library."""

import imaplib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from servers.dovecot import Dovecot


class Refused(AssertionError):
    """The server said NO."""


class OtherClient:
    """Somebody else who has this mailbox open. Folder names as the server writes them."""

    def __init__(self, begin: Callable[[], imaplib.IMAP4]) -> None:
        self._begin = begin
        self._imap = begin()

    def close(self) -> None:
        self._imap.logout()

    def append(self, folder: str, raw: bytes, flags: str = "", received: str = "") -> None:
        self._ok(self._imap.append(_quoted(folder), flags, received, raw))

    def flag(self, folder: str, uids: Sequence[int], change: str, flags: str) -> None:
        """`change` is +FLAGS, -FLAGS or FLAGS."""
        self._select(folder)
        self._ok(self._imap.uid("STORE", _set(uids), change, f"({flags})"))

    def expunge(self, folder: str, uids: Sequence[int]) -> None:
        self.flag(folder, uids, "+FLAGS", "\\Deleted")
        self._ok(self._imap.uid("EXPUNGE", _set(uids)))

    def move(self, folder: str, uids: Sequence[int], target: str) -> None:
        self._select(folder)
        self._ok(self._imap.uid("MOVE", _set(uids), _quoted(target)))

    def copy(self, folder: str, uids: Sequence[int], target: str) -> None:
        self._select(folder)
        self._ok(self._imap.uid("COPY", _set(uids), _quoted(target)))

    def create(self, folder: str) -> None:
        self._ok(self._imap.create(_quoted(folder)))

    def delete(self, folder: str) -> None:
        self._ok(self._imap.delete(_quoted(folder)))

    def rename(self, folder: str, new: str) -> None:
        self._ok(self._imap.rename(_quoted(folder), _quoted(new)))

    def leave(self) -> None:
        """Look at no folder."""
        if self._imap.state == "SELECTED":
            self._ok(self._imap.unselect())

    def folders(self) -> list[str]:
        """The names of all folders that can hold mail."""
        kind, answers = self._imap.list()
        assert kind == "OK"
        found = []
        for answer in answers:
            head, name = answer if isinstance(answer, tuple) else (answer or b"", b"")
            listed = re.match(rb'\(([^)]*)\) (?:"[^"]*"|NIL) ?(.*)', head, re.DOTALL)
            assert listed is not None
            if not {b"\\Noselect", b"\\NonExistent"} & set(listed[1].split()):
                found.append((name or _unquoted(listed[2])).decode())
        return found

    def uids(self, folder: str) -> list[int]:
        """Begins another conversation where Dovecot ends this one, over numbers that changed under it."""
        try:
            return self._uids(folder)
        except imaplib.IMAP4.abort:
            self._imap = self._begin()
            return self._uids(folder)

    def _uids(self, folder: str) -> list[int]:
        self._select(folder)
        kind, [found] = self._imap.uid("SEARCH", "ALL")
        assert kind == "OK"
        return [int(uid) for uid in (found or b"").split()]

    def messages(self, folder: str) -> dict[int, tuple[frozenset[str], bytes]]:
        """Flags and bytes of every message, by uid."""
        self._select(folder)
        found = {}
        for uid in self.uids(folder):
            kind, answer = self._imap.uid("FETCH", str(uid), "(FLAGS BODY.PEEK[])")
            assert kind == "OK"
            head, raw = answer[0]
            tail = b"".join(part for part in answer[1:] if isinstance(part, bytes))
            flags = re.search(rb"FLAGS \(([^)]*)\)", head + tail)
            assert flags is not None
            found[uid] = (frozenset(flags[1].decode().split()) - {"\\Recent"}, raw)
        return found

    def _select(self, folder: str) -> None:
        self._ok(self._imap.select(_quoted(folder)))

    def _ok(self, answer: tuple[str, object]) -> None:
        if answer[0] != "OK":
            raise Refused(answer)


def _quoted(folder: str) -> str:
    escaped = folder.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _unquoted(name: bytes) -> bytes:
    return re.sub(rb"\\(.)", rb"\1", name[1:-1]) if name.startswith(b'"') else name


def _set(uids: Sequence[int]) -> str:
    return ",".join(map(str, uids))


@contextmanager
def other_client(server: Dovecot, user: str) -> Iterator[OtherClient]:
    def begin() -> imaplib.IMAP4:
        imap = imaplib.IMAP4(server.host, server.port)
        imap.login(user, server.password)
        return imap

    client = OtherClient(begin)
    try:
        yield client
    finally:
        client.close()
