"""Whatever goes wrong with an IMAP server, as one sentence of the port's errors.

    network, TLS (net.*) ─┐
    ImapError ────────────┼──> the tree of providers/model
    OSError, TimeoutError ┘

Text of the server is `shown` cleaned and cut; the client below has taken secrets out of it.
"""

import errno
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from postroom.errors import PostroomError
from postroom.imap import errors as imap
from postroom.net import model as net
from postroom.providers.imap.settings import Auth, ImapSettings
from postroom.providers.imap.shown import shown
from postroom.providers.known import Known, LoginRule, by_address, by_host
from postroom.providers.model import (
    AppPassword,
    Blocked,
    Expired,
    FolderGone,
    Incomplete,
    NoMailbox,
    NoRoom,
    NotTrusted,
    PortClosed,
    SentAway,
    ServerRefused,
    Throttled,
    TlsRefused,
    TokenRefused,
    TooMany,
    UnknownHost,
    Unreachable,
    WrongPassword,
)

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
WAITS = (  # first match counts; Gmail locks an account that goes on for a day
    (re.compile(r"bandwidth|OVERQUOTA", re.I), timedelta(hours=1)),
    (re.compile(r"too many|connections|LIMIT", re.I), timedelta(minutes=5)),
)
WAIT = timedelta(minutes=1)
THROTTLES = {"THROTTLED", "OVERQUOTA", "LIMIT"}
TOO_MANY = re.compile(
    r"too many (?:\w+ )?(?:connections|sessions)|maximum number of connections|connection limit", re.I
)
NOT_CONNECTED = re.compile(r"authenticated but not connected", re.I)
APP_PASSWORD_SAID = re.compile(r"application-specific password|app(?:lication)?[- ]password|185833", re.I)
NO_PASSWORDS_SAID = re.compile(r"basic ?auth|LOGIN (?:is )?disabled", re.I)
WHATEVER_IS_SHOWN = {"PRIVACYREQUIRED", "CONTACTADMIN"}  # to the server, a password or a token, it says so
BLOCKED_SAID = re.compile(
    r"web ?login required|log ?in via your web browser|not enabled for IMAP"
    r"|IMAP (?:access )?(?:is )?(?:disabled|off)"
    r"|(?:account|user|mailbox) (?:is |has been )?(?:locked|suspended|disabled|blocked|deactivated)",
    re.I,
)


@contextmanager
def translated(settings: ImapSettings) -> Iterator[None]:
    """Let only the port's errors, and bugs, out of the block."""
    try:
        yield
    except net.EgressRefused:
        raise
    except (imap.ImapError, PostroomError, OSError, TimeoutError) as error:
        if isinstance(error, imap.LocalError) and not isinstance(error, imap.NoMechanism):
            raise  # we asked for nonsense: a bug
        reason = translation(error, settings)
        if reason is error:
            raise
        raise reason from error


def translation(error: Exception, settings: ImapSettings) -> PostroomError:
    """The port's error for `error`, which may be one of the port's already."""
    match error:
        case net.UnknownHost():
            return UnknownHost(error.message, **error.data)
        case net.PortClosed():
            return PortClosed(error.message, **error.data)
        case net.CertificateNotTrusted():
            return NotTrusted(f"{error.message} {_trust(error.reason)}", **error.data)
        case net.TlsFailed():
            return TlsRefused(error.message, **error.data)
        case net.ConnectTimeout() | net.TlsBrokenOff():
            return Unreachable(error.message, **error.data)
        case PostroomError():
            return error
        case imap.ImapError():
            return _of_imap(error, settings)
        case TimeoutError():
            return Unreachable(f"{settings.host} has stopped answering.", host=settings.host)
        case OSError(errno=number) if number in FULL:
            return NoRoom("There is no room for a large message in the temporary folder; make room there.")
    return Unreachable(f"The connection to {settings.host} broke.", host=settings.host)


def _trust(reason: net.Distrust) -> str:
    if reason in {net.Distrust.SELF_SIGNED, net.Distrust.UNKNOWN_AUTHORITY}:
        return "If it is yours, give the certificate of its authority with --ca-file."
    if reason is net.Distrust.WRONG_NAME:
        return "Use the host name that is in the certificate."
    return "Its operator must renew it." if reason is net.Distrust.EXPIRED else ""


def _of_imap(error: imap.ImapError, settings: ImapSettings) -> PostroomError:
    host = settings.host
    match error:
        case imap.AuthRefused():
            return refused_login(error, settings)
        case imap.ServerBusy():
            wait = error.wait or _wait(f"{error.code} {error.text}")
            kind = Throttled if error.wait else SentAway if throttled(error) else ServerRefused
            kind = TooMany if TOO_MANY.search(error.text) else kind  # the pool knows how to have fewer
            return kind(f"{host} asks us to come back later: {shown(error.text)}", wait=wait, host=host)
        case imap.CommandFailed():
            return _of_command(error, host)
        case imap.NotProven():
            return NotTrusted(
                f"{host} could not prove that it knows the password, so it may be another server: {error}.",
                host=host,
            )
        case imap.NoMechanism():
            return AppPassword(_no_mechanism(settings), host=host)
        case imap.Insecure():
            return TlsRefused(
                f"{host} does not offer the encryption that was asked for (STARTTLS), so nothing was sent; "
                "try imaps:// on port 993.",
                host=host,
            )
        case imap.Disconnected(said=str(said)):
            kind = TooMany if TOO_MANY.search(said) else SentAway
            return kind(f"{host} ended the conversation: {shown(said)}", wait=_wait(said), host=host)
        case imap.Disconnected():
            return Unreachable(f"The connection to {host} was lost.", host=host)
    return Incomplete(f"{host} does not keep to the IMAP protocol: {shown(str(error))}.", host=host)


def _of_command(error: imap.CommandFailed, host: str) -> PostroomError:
    if NOT_CONNECTED.search(error.text):
        return NoMailbox(
            f"{host} accepts the login but opens no mailbox ({shown(error.text)}): the password may have "
            "changed, IMAP may be switched off for this mailbox, it may have no licence, or there were too "
            "many logins.",
            host=host,
        )
    said = shown(error.text) or error.kind
    return ServerRefused(f"{host} refuses {error.command}: {said}", wait=WAIT, host=host, said=said)


def folder_refused(error: imap.CommandFailed, path: str, settings: ImapSettings) -> PostroomError:
    """A folder could not be opened: because it is gone, or for now."""
    gone = re.search(
        r"does ?n.?t exist|not exist|no such|unknown mailbox|not found|nonexistent", error.text, re.I
    )
    if error.code == "NONEXISTENT" or (gone and not isinstance(error, imap.ServerBusy)):
        return FolderGone(f"The folder {shown(path)} is not on the server any more.", path=path)
    return translation(error, settings)


def refused_login(error: imap.AuthRefused, settings: ImapSettings) -> PostroomError:
    """What the owner must do, as exactly as the server's code (RFC 5530) and the provider are known."""
    known = by_host(settings.host) or by_address(settings.username)
    said = shown(error.text)
    facts = {"host": settings.host, "username": settings.username, "said": said}
    is_kept_out = BLOCKED_SAID.search(said) is not None
    if settings.auth is Auth.OAUTH2 and not is_kept_out and error.code not in WHATEVER_IS_SHOWN:
        return _refused_token(error, settings, facts)
    if (plain := _by_code(error, settings, facts)) is not None:
        return plain
    if is_kept_out:
        return Blocked(
            f"{settings.host} knows {settings.username} and lets nobody in by IMAP: {said}. Sign in on its "
            "web page and see what it asks for.",
            **facts,
        )
    if NO_PASSWORDS_SAID.search(said) and not (known and known.advice):
        return AppPassword(f"{settings.host} does not accept passwords here: {said}", **facts)
    if known and known.advice:
        kind = WrongPassword if known.rule is LoginRule.PASSWORD else AppPassword
        return kind(_advice(known, settings, said), **facts)
    if APP_PASSWORD_SAID.search(said):
        return AppPassword(f"{settings.host} wants an app password instead of your own one: {said}", **facts)
    return WrongPassword(
        f"{settings.host} does not accept this password for {settings.username}; check user name and password"
        f"{f' (it said: {said})' if said else ''}.",
        **facts,
    )


def _refused_token(
    error: imap.AuthRefused, settings: ImapSettings, facts: Mapping[str, Any]
) -> PostroomError:
    why = error.status or facts["said"]
    return TokenRefused(
        f"{settings.host} does not accept the access token for {settings.username}"
        f"{f' (it said: {why})' if why else ''}; sign in again if this goes on.",
        **facts,
        status=error.status,
    )


def _by_code(
    error: imap.AuthRefused, settings: ImapSettings, facts: Mapping[str, Any]
) -> PostroomError | None:
    """Where a response code leaves no doubt: asking again would be answered the same."""
    host, user, said = settings.host, settings.username, facts["said"]
    words = f" (it said: {said})" if said else ""
    match error.code:
        case "EXPIRED":
            return Expired(f"The password of {user} at {host} has expired; set a new one{words}.", **facts)
        case "PRIVACYREQUIRED":
            return TlsRefused(f"{host} takes no login that is not encrypted; try imaps://{words}.", **facts)
        case "AUTHORIZATIONFAILED":
            return Blocked(f"{host} knows the password and does not let {user} in{words}.", **facts)
        case "CONTACTADMIN":
            return Blocked(f"{host} wants {user} to ask its administrator{words}.", **facts)
    return None


def _advice(known: Known, settings: ImapSettings, said: str) -> str:
    words = f" (It said: {said})" if said else ""
    return f"{known.name} does not accept this password for {settings.username}. {known.advice}{words}"


def _no_mechanism(settings: ImapSettings) -> str:
    if settings.auth is Auth.OAUTH2:
        return f"{settings.host} does not accept access tokens; use a password, or an app password."
    known = by_host(settings.host)
    if known and known.advice:
        return known.advice
    return f"{settings.host} accepts no password here: it wants TLS first (imaps:// or --starttls), or OAuth."


def throttled(error: imap.CommandFailed) -> bool:
    """Whether the server wants less from us, and not just that something of its own is broken."""
    return isinstance(error, imap.ServerBusy) and (error.wait is not None or error.code in THROTTLES)


def _wait(text: str) -> timedelta:
    return next((wait for pattern, wait in WAITS if pattern.search(text)), WAIT)
