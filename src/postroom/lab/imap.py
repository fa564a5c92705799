"""One connection to the lab server, from greeting to goodbye: read a command, carry it out, answer.

connected --greeting--> not signed in --LOGIN--> signed in --SELECT--> selected --CLOSE--> signed in
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import IntEnum

from postroom.lab import fetching, listing, searching, selecting, signing_in, storing, watching
from postroom.lab.mailbox import FolderExists, NoSuchFolder
from postroom.lab.session import Hangup, No, Session
from postroom.lab.wire import LONGEST_LITERAL, Command, Misread, parse, read_command

APPEND_LIMIT = 100_000  # bytes

Handler = Callable[[Session, Command], Awaitable[str]]


class Needs(IntEnum):
    """What a command needs to have happened before."""

    NOTHING = 0
    LOGIN = 1
    FOLDER = 2


COMMANDS: dict[str, tuple[Needs, Handler]] = {
    "CAPABILITY": (Needs.NOTHING, signing_in.capability),
    "NOOP": (Needs.NOTHING, signing_in.noop),
    "ID": (Needs.NOTHING, signing_in.identify),
    "LOGOUT": (Needs.NOTHING, signing_in.logout),
    "STARTTLS": (Needs.NOTHING, signing_in.starttls),
    "LOGIN": (Needs.NOTHING, signing_in.login),
    "AUTHENTICATE": (Needs.NOTHING, signing_in.authenticate),
    "ENABLE": (Needs.LOGIN, signing_in.enable),
    "COMPRESS": (Needs.LOGIN, signing_in.compress),
    "LIST": (Needs.LOGIN, listing.list_folders),
    "LSUB": (Needs.LOGIN, listing.lsub),
    "STATUS": (Needs.LOGIN, listing.status),
    "NAMESPACE": (Needs.LOGIN, listing.namespace),
    "CREATE": (Needs.LOGIN, listing.create),
    "DELETE": (Needs.LOGIN, listing.delete),
    "RENAME": (Needs.LOGIN, listing.rename),
    "SUBSCRIBE": (Needs.LOGIN, listing.subscribe),
    "UNSUBSCRIBE": (Needs.LOGIN, listing.subscribe),
    "SELECT": (Needs.LOGIN, selecting.select),
    "EXAMINE": (Needs.LOGIN, selecting.select),
    "APPEND": (Needs.LOGIN, storing.append),
    "IDLE": (Needs.LOGIN, watching.idle),
    "NOTIFY": (Needs.LOGIN, watching.notify),
    "CHECK": (Needs.FOLDER, signing_in.noop),
    "CLOSE": (Needs.FOLDER, selecting.close),
    "UNSELECT": (Needs.FOLDER, selecting.unselect),
    "FETCH": (Needs.FOLDER, fetching.fetch),
    "UID FETCH": (Needs.FOLDER, fetching.fetch),
    "SEARCH": (Needs.FOLDER, searching.search),
    "UID SEARCH": (Needs.FOLDER, searching.search),
    "STORE": (Needs.FOLDER, storing.store),
    "UID STORE": (Needs.FOLDER, storing.store),
    "COPY": (Needs.FOLDER, storing.copy),
    "UID COPY": (Needs.FOLDER, storing.copy),
    "MOVE": (Needs.FOLDER, storing.move),
    "UID MOVE": (Needs.FOLDER, storing.move),
    "EXPUNGE": (Needs.FOLDER, storing.expunge),
    "UID EXPUNGE": (Needs.FOLDER, storing.expunge),
}


async def converse(session: Session) -> None:
    """Serve one client until it or the server has had enough. Never raises for what a client does."""
    try:
        if session.faults.active("greeting-late"):
            await session.reader.read()
            return
        signing_in.greet(session)
        while not session.over:
            await session.writer.drain()
            raw = await _next_command(session)
            if not raw:
                return
            await _answer(session, raw)
    except (Hangup, OSError, asyncio.IncompleteReadError, ValueError):
        # ValueError: a line longer than the reader allows, or a TLS handshake that failed halfway.
        return
    finally:
        session.end()


async def _next_command(session: Session) -> bytes:
    try:
        session.rest(free=True)
        largest = APPEND_LIMIT if session.faults.active("append-limit") else LONGEST_LITERAL
        return await read_command(session.reader, session.writer, largest)
    except Misread as error:
        session.line(f"* BYE {error}".encode())
        raise Hangup from error
    finally:
        session.rest(free=False)


async def _answer(session: Session, raw: bytes) -> None:
    """One command, one tagged answer."""
    tag = raw.partition(b" ")[0].strip().decode("ascii", "replace")
    try:
        command = parse(raw)
        answer = await _carry_out(session, command)
    except Misread as error:
        answer = f"BAD {error}"
    except (IndexError, ValueError) as error:
        answer = f"BAD arguments are missing or wrong: {error}"
    except No as refusal:
        answer = f"NO {refusal}"
    except NoSuchFolder:
        answer = "NO [NONEXISTENT] there is no such folder"
    except FolderExists:
        answer = "NO [ALREADYEXISTS] there is such a folder"
    if answer:
        text = "OK done" if answer == "OK" else answer
        session.complete(f"{tag} {text}".encode("utf-8", "replace"))


async def _carry_out(session: Session, command: Command) -> str:
    needs, handler = COMMANDS.get(command.name, (Needs.NOTHING, None))
    if handler is None:
        raise Misread(f"{command.name} is not known here")
    if needs >= Needs.LOGIN and session.mailbox is None:
        raise Misread("sign in first")
    if needs >= Needs.FOLDER and session.folder is None:
        raise Misread("select a folder first")
    if needs >= Needs.LOGIN and session.faults.active("authenticated-not-connected"):
        raise Misread("User is authenticated but not connected.")
    return await handler(session, command)
