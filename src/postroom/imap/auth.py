"""Log in with a password: SASL PLAIN where it is offered, else LOGIN.

Secrets live in `Command.pieces`, `answers` and `secrets`, which no repr shows. LOGINDISABLED is obeyed.
"""

import re
from binascii import b2a_base64
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import timedelta

from .commands import Command, octets, string
from .errors import AuthRefused, CommandFailed, LocalError, NoMechanism, ServerBusy
from .responses import Status

BUSY_CODES = {"THROTTLED", "OVERQUOTA", "UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG"}
REFUSING_CODES = {"AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED", "PRIVACYREQUIRED", "CONTACTADMIN"}
ADDING_COMMANDS = {"APPEND", "UID COPY", "UID MOVE", "CREATE"}
BUSY_TEXTS = re.compile(
    r"too many (?:simultaneous )?connections|command or bandwidth limits|request is throttled"
    r"|server (?:is )?(?:busy|unavailable)|try again later|temporar(?:y|ily)",
    re.IGNORECASE,
)
# Said to a login by a server that could not look, and not by one that has looked.
LOGIN_TEXTS = re.compile(
    r"system error|internal (?:server )?(?:error|failure)|service (?:is )?unavailable|overloaded"
    r"|time(?:d )?[- ]?out|(?:lookup|backend|database) (?:error|failed|failure)",
    re.IGNORECASE,
)
BACKOFF = re.compile(r"Suggested Backoff Time: (\d{1,9}) milliseconds", re.IGNORECASE)
LOGIN_COMMANDS = {"LOGIN", "AUTHENTICATE"}


def login(user: str, password: str) -> Command:
    """LOGIN. User and password always travel as strings, whatever they hold."""
    raw = octets(password)
    return Command("LOGIN", (string(user), b" ", string(raw)), secrets=(raw,), alone=True)


def plain(user: str, password: str, *, initial_response: bool) -> Command:
    """AUTHENTICATE PLAIN (RFC 4616); `initial_response` needs SASL-IR and saves a round trip."""
    name, raw = octets(user), octets(password)
    if b"\x00" in name + raw:
        raise LocalError("user and password cannot hold a NUL")
    answer = b2a_base64(b"\x00" + name + b"\x00" + raw, newline=False)
    secrets = (answer, raw)
    if initial_response:
        return Command("AUTHENTICATE", (b"PLAIN " + answer,), secrets=secrets, alone=True)
    return Command("AUTHENTICATE", (b"PLAIN",), answers=(answer,), secrets=secrets, alone=True)


def choose(
    capabilities: Collection[str], user: str, password: str, *, mechanism: str | None = None
) -> Command:
    """The command to log in with here. `mechanism` (`PLAIN` or `LOGIN`) overrides what is offered.

    :raises NoMechanism: neither is possible; nothing was sent.
    """
    if mechanism is None and "AUTH=PLAIN" in capabilities:
        mechanism = "PLAIN"
    if mechanism == "PLAIN":
        return plain(user, password, initial_response="SASL-IR" in capabilities)
    if mechanism not in {None, "LOGIN"}:
        raise LocalError(f"no such mechanism: {mechanism}")
    if "LOGINDISABLED" in capabilities:
        raise NoMechanism("the server accepts no password here (LOGINDISABLED, no AUTH=PLAIN)")
    return login(user, password)


def redacted(command: Command, status: Status) -> Status:
    """`status` as it may be shown: some servers repeat the line that they did not like, as they read it."""
    spellings = {spelling for secret in filter(None, command.secrets) for spelling in _spellings(secret)}
    if not spellings:
        return status
    longest_first = sorted(spellings, key=len, reverse=True)
    text = re.sub("|".join(map(re.escape, longest_first)), "***", status.text, flags=re.IGNORECASE)
    return replace(status, text=text) if text != status.text else status


def _spellings(secret: bytes) -> Iterator[str]:
    """A secret as it is, inside a quoted string, and in base64."""
    quoted = secret.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    for spelling in (secret, quoted, b2a_base64(secret, newline=False)):
        yield spelling.decode()


def failure(command: Command, status: Status) -> CommandFailed:
    """The error for a NO or BAD, by what it asks of the caller."""
    text = status.text
    code = status.code.name if status.code else None
    backoff = BACKOFF.search(text)
    wait = timedelta(milliseconds=int(backoff[1])) if backoff else None
    full = code == "OVERQUOTA" and command.name in ADDING_COMMANDS  # the mailbox, not our use of the server
    if not full and (code in BUSY_CODES or wait is not None or BUSY_TEXTS.search(text)):
        return ServerBusy(command.name, status.kind, code, text, wait)
    if command.name in LOGIN_COMMANDS and status.kind == "NO":
        if code not in REFUSING_CODES and LOGIN_TEXTS.search(text):
            return ServerBusy(command.name, status.kind, code, text)
        return AuthRefused(command.name, status.kind, code, text)
    return CommandFailed(command.name, status.kind, code, text)
