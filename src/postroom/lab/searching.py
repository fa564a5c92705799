"""SEARCH and UID SEARCH, with RETURN (RFC 4731): the keys that mail programs use."""

from collections.abc import Callable
from datetime import date, datetime

from postroom.lab.answering import GMAIL_IDS
from postroom.lab.mailbox import LabMessage
from postroom.lab.session import Session
from postroom.lab.wire import Argument, Command, Misread, compressed, numbers, text, texts

Test = Callable[[LabMessage], bool]
FLAG_KEYS = {
    "ANSWERED": "\\Answered",
    "DELETED": "\\Deleted",
    "DRAFT": "\\Draft",
    "FLAGGED": "\\Flagged",
    "SEEN": "\\Seen",
}
HEADER_KEYS = {"BCC", "CC", "FROM", "SUBJECT", "TO"}


async def search(session: Session, command: Command) -> str:
    """Answers SEARCH, or ESEARCH when asked with RETURN."""
    arguments = list(command.arguments)
    by_uid = command.name == "UID SEARCH"
    returned = _returned(arguments)
    if returned is not None:
        session.require("ESEARCH", "RETURN")
    if arguments and text_if(arguments[0]) == "CHARSET":
        del arguments[:2]
    if [text_if(argument) for argument in arguments] == ["ALL"] and session.faults.active(
        "search-all-refused"
    ):
        raise Misread("ALL is not known here")
    tests = Keys(session, arguments).all()
    folder = session.selected
    found = [
        uid
        for uid in session.known
        if (message := folder.messages.get(uid)) and all(test(message) for test in tests)
    ]
    if session.faults.active("search-truncated"):
        found = found[-10:]
    highest = max((folder.messages[uid].modseq for uid in found), default=0)
    asked_modseq = any(text_if(argument) == "MODSEQ" for argument in arguments)
    shown = found if by_uid else [session.sequence(uid) for uid in found]
    if session.faults.active("uids-descending"):
        shown = shown[::-1]
    if session.faults.active("uid-zero"):
        shown = [0, *shown]
    if returned is None or session.faults.active("esearch-ignored"):
        modseq = f" (MODSEQ {highest})" if asked_modseq and found else ""
        session.line(f"* SEARCH {' '.join(map(str, shown))}".rstrip().encode() + modseq.encode())
    else:
        modseq = f" MODSEQ {highest}" if asked_modseq and found else ""
        session.line(_extended(command, shown, returned, by_uid=by_uid) + modseq.encode())
    session.update(expunge=by_uid)
    return "OK"


def text_if(argument: Argument) -> str:
    """An atom in capitals; nothing for what is none."""
    return argument.upper() if isinstance(argument, str) else ""


def _returned(arguments: list[Argument]) -> list[str] | None:
    if len(arguments) < 2 or text_if(arguments[0]) != "RETURN":
        return None
    del arguments[0]
    return [word.upper() for word in texts(arguments.pop(0))] or ["ALL"]


def _extended(command: Command, shown: list[int], returned: list[str], *, by_uid: bool) -> bytes:
    words = [f'* ESEARCH (TAG "{command.tag}")', "UID" if by_uid else ""]
    for wanted in returned:
        if wanted == "COUNT":
            words.append(f"COUNT {len(shown)}")
        elif shown and wanted == "MIN":
            words.append(f"MIN {shown[0]}")
        elif shown and wanted == "MAX":
            words.append(f"MAX {shown[-1]}")
        elif shown and wanted == "ALL":
            words.append(f"ALL {compressed(shown)}")
    return " ".join(word for word in words if word).encode()


class Keys:
    """Search keys, read one after another."""

    def __init__(self, session: Session, arguments: list[Argument]) -> None:
        self._session = session
        self._left = list(arguments)

    def all(self) -> list[Test]:
        """Every key; a message has to pass them all."""
        tests = []
        while self._left:
            tests.append(self._one())
        return tests

    def _next(self) -> Argument:
        if not self._left:
            raise Misread("the search key is cut off")
        return self._left.pop(0)

    def _one(self) -> Test:
        key = self._next()
        if isinstance(key, list):
            tests = Keys(self._session, key).all()
            return lambda message: all(test(message) for test in tests)
        name = text(key).upper()
        if name == "NOT":
            inner = self._one()
            return lambda message: not inner(message)
        if name == "OR":
            first, second = self._one(), self._one()
            return lambda message: first(message) or second(message)
        return self._simple(name)

    def _simple(self, name: str) -> Test:
        if name == "ALL":
            return lambda _: True
        if name in FLAG_KEYS:
            return _has(FLAG_KEYS[name])
        if name.removeprefix("UN") in FLAG_KEYS:
            return _lacks(FLAG_KEYS[name.removeprefix("UN")])
        if name in {"KEYWORD", "UNKEYWORD"}:
            flag = text(self._next())
            return _has(flag) if name == "KEYWORD" else _lacks(flag)
        if name in {"SINCE", "BEFORE", "ON", "SENTSINCE", "SENTBEFORE", "SENTON"}:
            return _by_date(name.removeprefix("SENT"), _date(text(self._next())))
        if name in {"LARGER", "SMALLER"}:
            return _by_size(name, int(text(self._next())))
        return self._numbers_or_text(name)

    def _numbers_or_text(self, name: str) -> Test:
        if name == "UID":
            uids = set(numbers(text(self._next()), self._session.known))
            return lambda message: message.uid in uids
        if name == "MODSEQ":
            self._session.require("CONDSTORE", name)
            least = int(text(self._next()))
            self._session.enabled.add("CONDSTORE")
            return lambda message: message.modseq >= least
        if name in {"EMAILID", "THREADID", "X-GM-MSGID", "X-GM-THRID"}:
            return self._by_id(name, text(self._next()))
        if name == "HEADER":
            return _in_header(text(self._next()), text(self._next()))
        if name in HEADER_KEYS:
            return _in_header(name, text(self._next()))
        if name in {"TEXT", "BODY"}:
            wanted = text(self._next()).encode().lower()
            return lambda message: wanted in message.raw().lower()
        known = self._session.known
        chosen = {known[n - 1] for n in numbers(name, list(range(1, len(known) + 1)))}
        return lambda message: message.uid in chosen

    def _by_id(self, name: str, value: str) -> Test:
        self._session.require("X-GM-EXT-1" if name.startswith("X-GM-") else "OBJECTID", name)
        if name == "EMAILID":
            return lambda message: f"M{message.id}" == value
        if name == "X-GM-MSGID":
            return lambda message: str(GMAIL_IDS + message.id) == value
        return lambda message: str(message.thread) == value.removeprefix("T")


def _has(flag: str) -> Test:
    return lambda message: flag in message.flags


def _lacks(flag: str) -> Test:
    return lambda message: flag not in message.flags


def _date(written: str) -> date:
    try:
        return datetime.strptime(written, "%d-%b-%Y").date()  # noqa: DTZ007  a day, not a time
    except ValueError as error:
        raise Misread(f"{written} is no date") from error


def _by_date(name: str, day: date) -> Test:
    if name == "SINCE":
        return lambda message: message.received.date() >= day
    if name == "BEFORE":
        return lambda message: message.received.date() < day
    return lambda message: message.received.date() == day


def _by_size(name: str, size: int) -> Test:
    if name == "LARGER":
        return lambda message: message.size > size
    return lambda message: message.size < size


def _in_header(name: str, value: str) -> Test:
    """A header field holds a text, compared as bytes without case."""
    field, wanted = name.encode().lower(), value.encode("utf-8", "surrogateescape").lower()

    def test(message: LabMessage) -> bool:
        header = (
            message.raw().partition(b"\r\n\r\n")[0].replace(b"\r\n\t", b" ").replace(b"\r\n ", b" ").lower()
        )
        return any(
            line.partition(b":")[0] == field and wanted in line.partition(b":")[2]
            for line in header.split(b"\r\n")
        )

    return test
