"""Log in with a password (SCRAM-SHA-256, PLAIN, LOGIN) or with an access token (OAUTHBEARER, XOAUTH2).

Secrets live in `Command.pieces`, `answers`, `dialogue` and `secrets`, which no repr shows. LOGINDISABLED is
obeyed.
"""

import re
from binascii import b2a_base64
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import timedelta

from . import bearer
from .bearer import Bearer
from .commands import Command, Dialogue, octets, string
from .errors import AuthRefused, CommandFailed, LocalError, NoMechanism, ServerBusy
from .responses import Status
from .scram import Scram

BUSY_CODES = {"THROTTLED", "OVERQUOTA", "UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG"}
REFUSING_CODES = {"AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED", "PRIVACYREQUIRED", "CONTACTADMIN"}
ADDING_COMMANDS = {"APPEND", "UID COPY", "UID MOVE", "CREATE"}
BUSY_TEXTS = re.compile(
    r"too many (?:\w+ )?(?:connections|sessions)|maximum number of connections"
    r"|command or bandwidth limits|request is throttled"
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


def scram(user: str, password: str, *, initial_response: bool) -> Command:
    """AUTHENTICATE SCRAM-SHA-256: the password is proven, not sent. See `scram`."""
    return _authenticate(b"SCRAM-SHA-256", Scram(user, password), initial_response, (octets(password),))


def xoauth2(user: str, token: str, *, initial_response: bool) -> Command:
    """AUTHENTICATE XOAUTH2, with an access token."""
    return _with_token(b"XOAUTH2", bearer.xoauth2(user, token), token, initial_response)


def oauthbearer(user: str, token: str, *, initial_response: bool) -> Command:
    """AUTHENTICATE OAUTHBEARER (RFC 7628), with an access token."""
    return _with_token(b"OAUTHBEARER", bearer.oauthbearer(user, token), token, initial_response)


def _with_token(name: bytes, dialogue: Bearer, token: str, initial_response: bool) -> Command:
    return _authenticate(name, dialogue, initial_response, (dialogue.message, octets(token)))


def _authenticate(
    name: bytes, dialogue: Dialogue, initial_response: bool, secrets: tuple[bytes, ...]
) -> Command:
    """What is said first goes with the command where SASL-IR allows it, and saves a round trip."""
    if initial_response:
        name += b" " + dialogue.answer(b"")
    return Command("AUTHENTICATE", (name,), dialogue=dialogue, secrets=secrets, alone=True)


def choose(
    capabilities: Collection[str],
    user: str,
    password: str,
    *,
    mechanism: str | None = None,
    encrypted: bool = True,
) -> Command:
    """The command to log in with here. `mechanism`, a key of `BY_PASSWORD`, overrides what is offered.

    Over TLS it is PLAIN, which every server knows and which takes one round trip; in the clear SCRAM-SHA-256
    is better, which gives no password away.

    :raises NoMechanism: none is possible; nothing was sent.
    """
    if mechanism is None and not encrypted and "AUTH=SCRAM-SHA-256" in capabilities:
        mechanism = "SCRAM-SHA-256"
    if mechanism is None and "AUTH=PLAIN" in capabilities:
        mechanism = "PLAIN"
    if mechanism in BY_PASSWORD:
        return BY_PASSWORD[mechanism](user, password, initial_response="SASL-IR" in capabilities)
    if mechanism not in {None, "LOGIN"}:
        raise LocalError(f"no such mechanism: {mechanism}")
    if "LOGINDISABLED" in capabilities:
        raise NoMechanism("the server accepts no password here (LOGINDISABLED, no AUTH=PLAIN)")
    return login(user, password)


def choose_for_token(
    capabilities: Collection[str], user: str, token: str, *, mechanism: str | None = None
) -> Command:
    """How to log in with an access token. `mechanism`, a key of `BY_TOKEN`, overrides what is offered.

    :raises NoMechanism: the server takes no tokens; nothing was sent.
    """
    mechanism = mechanism or next((name for name in BY_TOKEN if f"AUTH={name}" in capabilities), None)
    if mechanism is None:
        raise NoMechanism("the server accepts no access token (no AUTH=OAUTHBEARER, no AUTH=XOAUTH2)")
    if mechanism not in BY_TOKEN:
        raise LocalError(f"no such mechanism: {mechanism}")
    return BY_TOKEN[mechanism](user, token, initial_response="SASL-IR" in capabilities)


BY_PASSWORD = {"PLAIN": plain, "SCRAM-SHA-256": scram}
BY_TOKEN = {"OAUTHBEARER": oauthbearer, "XOAUTH2": xoauth2}


def redacted(command: Command, status: Status) -> Status:
    """`status` as it may be shown: some servers repeat the line that they did not like, as they read it."""
    spellings = {spelling for secret in filter(None, command.secrets) for spelling in _spellings(secret)}
    if not spellings or not _may_have(status.text, spellings):
        return status
    longest_first = sorted(spellings, key=len, reverse=True)
    text = re.sub("|".join(map(re.escape, longest_first)), "***", status.text, flags=re.IGNORECASE)
    return replace(status, text=text) if text != status.text else status


def _may_have(text: str, spellings: Collection[str]) -> bool:
    """Whether it is worth a pattern, which each login would have to compile: a third of its processor time.

    In ASCII there is one way to write a letter otherwise; elsewhere the pattern knows them all.
    """
    if not (text.isascii() and all(map(str.isascii, spellings))):
        return True
    small = text.lower()
    return any(spelling.lower() in small for spelling in spellings)


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
        said = command.dialogue.refusal if command.dialogue else None
        if said is None and code not in REFUSING_CODES and LOGIN_TEXTS.search(text):
            return ServerBusy(command.name, status.kind, code, text)
        return AuthRefused(command.name, status.kind, code, text, said)
    return CommandFailed(command.name, status.kind, code, text)
