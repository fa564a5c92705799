"""The commands of a session's beginning and end: CAPABILITY, ID, STARTTLS, LOGIN, ENABLE, LOGOUT."""

from base64 import b64decode, b64encode

from postroom.lab import twists
from postroom.lab.offers import FOR_ALL
from postroom.lab.sasl import MECHANISMS, REFUSED, believed
from postroom.lab.session import Hangup, No, Session
from postroom.lab.wire import Command, Misread, text, texts

OURS = "postroom lab"
BUSY = (
    "[UNAVAILABLE] Temporary authentication failure.",
    "[INUSE] the mailbox is locked",
    "[LIMIT] too many at once",
    "[SERVERBUG] something went wrong",
    "System Error (Failure)",
    "Server Busy",
    "Service unavailable",
    "Internal error occurred. Refer to server log for more information.",
)
ALERT = b"* OK [ALERT] Your \x1b[31mmailbox\x1b[0m moves tonight. " + b"x" * 10_000
GMAIL = "GImap"
POSING = {  # faults of servers that are known by name
    "newest-only": "YMail",
    "vanished-lies": "iCloud",
    "modseq-early": GMAIL,
}


def capabilities(session: Session) -> str:
    """What is offered in this state of the session."""
    if session.mailbox is not None:
        more = ["APPENDLIMIT=100000"] if session.faults.active("append-limit") else []
        return " ".join([*session.offered, *more])
    words = list(session.house.offers if session.faults.active("capability-differs") else FOR_ALL)
    offered = session.house.tls is not None and not session.faults.active("starttls-stripped")
    if offered and not session.encrypted:
        words.append("STARTTLS")
    if session.faults.active("login-prompts"):
        words += ["LOGINDISABLED", "AUTH=LOGIN"]
    else:
        words.append("LOGINDISABLED" if session.faults.active("logindisabled") else "AUTH=PLAIN")
        words += [word for word in session.house.offers if word.startswith("AUTH=")]
    return " ".join(words)


def greet(session: Session) -> None:
    """The first line of the server. Raises Hangup where it is the last."""
    if session.faults.active("greeting-bye"):
        session.line(b"* BYE the server is too busy")
        raise Hangup
    if session.faults.active("preauth"):
        session.sign_in(next(iter(session.house.accounts)))
        session.line(b"* PREAUTH welcome, whoever you are")
        return
    session.line(f"* OK [CAPABILITY {_named(session)}] postroom lab ready".encode())


def _named(session: Session) -> str:
    names = capabilities(session)
    for fault in session.faults.among(twists.NAMES):
        names = twists.NAMES[fault](names.encode()).decode()
    return names


async def capability(session: Session, _: Command) -> str:
    session.line(f"* CAPABILITY {_named(session)}".encode())
    return "OK that is all"


async def noop(session: Session, _: Command) -> str:
    session.update(expunge=True)
    return "OK"


async def identify(session: Session, _: Command) -> str:
    session.identified = True
    names = [POSING[fault] for fault in session.faults.among(POSING)]
    if session.offers("X-GM-EXT-1"):
        names.append(GMAIL)
    session.line(f'* ID ("name" "{" and ".join(names) or OURS}")'.encode())
    return "OK nice to meet you"


async def logout(session: Session, _: Command) -> str:
    if session.faults.active("reset-at-logout"):
        await session.reset()
    session.line(b"* BYE see you")
    if session.faults.active("bye-repeated"):
        session.line(b"* BYE see you")
        session.line(b"* BYE see you")
        await session.fall_silent()
    session.over = True
    return "OK"


async def starttls(session: Session, command: Command) -> str:
    """The answer is sent from here: what follows it is encrypted."""
    if session.house.tls is None or session.encrypted or session.faults.active("starttls-stripped"):
        raise Misread("no STARTTLS here")
    if session.faults.active("starttls-no"):
        raise No("[UNAVAILABLE] TLS is not available now")
    answer = f"{command.tag} OK go ahead\r\n".encode()
    if session.faults.active("starttls-injection"):
        answer += b"* CAPABILITY IMAP4rev1 AUTH=PLAIN INJECTED\r\n"
    session.writer.write(answer)
    await session.writer.drain()
    if session.faults.active("starttls-breaks-off"):
        await session.reader.readexactly(1)  # the client has begun
        raise Hangup
    await session.encrypt(session.house.tls)
    return ""


async def compress(session: Session, command: Command) -> str:
    """The answer is sent from here: what follows it is compressed."""
    session.require("COMPRESS=DEFLATE", "COMPRESS")
    if texts(command.arguments) != ["DEFLATE"]:
        raise Misread("there is only DEFLATE")
    if session.compressed:
        raise No("[COMPRESSIONACTIVE] it is compressed already")
    session.writer.write(f"{command.tag} OK deflating\r\n".encode())
    session.compress()
    return ""


async def login(session: Session, command: Command) -> str:
    if session.faults.active("logindisabled"):
        raise No("[PRIVACYREQUIRED] LOGIN is disabled")
    if len(command.arguments) != 2:
        raise Misread("LOGIN takes a name and a password")
    user, password = (text(argument) for argument in command.arguments)
    return _admit(session, believed(session, user, password))


async def authenticate(session: Session, command: Command) -> str:
    """With or without an initial response, which `=` says is empty (RFC 4959)."""
    name, *initial = texts(command.arguments)
    mechanism = MECHANISMS.get(name.upper())
    if mechanism is None:
        raise No(f"only {', '.join(MECHANISMS)} are spoken here")
    waiting = [b"" if word == "=" else word.encode() for word in initial]

    async def prompt(challenge: bytes) -> bytes:
        response = waiting.pop() if waiting else await _prompted(session, b64encode(challenge))
        try:
            return b64decode(response, validate=True)
        except ValueError as error:
            raise Misread("that is not base64") from error

    return _admit(session, await mechanism(session, prompt))


async def _prompted(session: Session, prompt: bytes) -> bytes:
    session.writer.write(b"+ " + prompt + b"\r\n")
    await session.writer.drain()
    response = (await session.reader.readline()).strip()
    if response == b"*":
        raise Misread("as you like")
    return response


def _admit(session: Session, user: str) -> str:
    if session.mailbox is not None:
        raise Misread("you are signed in already")
    if session.faults.first("login-refused-once"):
        raise No(REFUSED)
    if session.faults.active("login-expired"):
        raise No("[EXPIRED] this password was for last year")
    if session.faults.active("login-blocked"):
        raise No("[CONTACTADMIN] this mailbox is under review")
    if session.faults.active("too-many-connections") and session.house.users[user]:
        raise No("[ALERT] Too many simultaneous connections. (Failure)")
    if session.faults.active("login-unavailable") and session.house.users[user]:
        raise No("[UNAVAILABLE] Maximum number of connections from user+IP exceeded")
    if (turn := session.faults.turn("login-busy")) > 0:
        raise No(BUSY[(turn - 1) % len(BUSY)])
    session.sign_in(user)
    if session.faults.active("alert"):
        session.line(ALERT)
    if session.faults.active("capability-differs"):
        return "OK signed in"
    return f"OK [CAPABILITY {_named(session)}] signed in"


async def enable(session: Session, command: Command) -> str:
    session.require("ENABLE", "ENABLE")
    wanted = {word.upper() for argument in command.arguments for word in texts(argument)}
    new = {word for word in wanted & {"CONDSTORE", "QRESYNC"} if session.offers(word)}
    session.enabled |= new | ({"CONDSTORE"} if "QRESYNC" in new else set())
    if not session.faults.active("enabled-silent"):
        session.line(f"* ENABLED {' '.join(sorted(new))}".rstrip().encode())
    return "OK"
