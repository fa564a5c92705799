"""What can go wrong between us and an IMAP server, by what the caller should do next.

ImapError
├── LocalError             we asked for something that IMAP, or our own rules, do not allow; nothing was sent
│   └── NoMechanism        the server offers no way of logging in that we have credentials for
├── RemoteError            the server broke the protocol; the connection is of no more use
│   ├── LimitExceeded      a line, literal or response is larger than we accept
│   ├── Desynchronised     replies no longer match commands, so nothing can be believed
│   ├── Insecure           TLS was required and the server (or someone between) would not have it
│   └── NotProven          the server does not know the password: it may be another one
├── Disconnected           the connection ended: BYE, end of stream, reset
└── CommandFailed          the server understood, and said NO or BAD; the connection is fine
    ├── AuthRefused        it did not accept these credentials; asking again will not help
    └── ServerBusy         the same command may work after `wait`

Errors of the network (OSError, ssl.SSLError) and of the clock (TimeoutError) pass through as they are.
No message holds a secret: commands are named without their arguments, and a reply that
echoes a password is shown without it.
"""

from datetime import timedelta


class ImapError(Exception):
    """Base of every error that this package raises on purpose."""


class LocalError(ImapError):
    """We tried something illegal: a bad argument, or a command out of its state. Nothing was sent."""


class NoMechanism(LocalError):
    """No way of logging in is left, for example LOGINDISABLED and no AUTH=PLAIN."""


class RemoteError(ImapError):
    """The server sent something that IMAP does not allow; close the connection."""


class LimitExceeded(RemoteError):
    """The server sent more than we accept. `limit` names which of `framing.Limits`."""

    def __init__(self, limit: str, allowed: int) -> None:
        super().__init__(f"the server sent a {limit} of more than {allowed} bytes")
        self.limit, self.allowed = limit, allowed


class Desynchronised(RemoteError):
    """A reply cannot belong to anything that we sent."""


class Insecure(RemoteError):
    """The connection cannot be made safe; no credentials were sent."""


class NotProven(RemoteError):
    """The server could not prove that it knows the password (SCRAM), or would have us give it away."""


class Disconnected(ImapError):
    """The connection ended. `said` is the text of the server's BYE, if it said so."""

    def __init__(self, message: str, said: str | None = None) -> None:
        super().__init__(message)
        self.said = said


class CommandFailed(ImapError):
    """The server answered NO or BAD. `code` is the name of its response code, such as `TRYCREATE`."""

    def __init__(self, command: str, kind: str, code: str | None, text: str) -> None:
        super().__init__(f"{command}: {kind} {f'[{code}] ' if code else ''}{text}")
        self.command, self.kind, self.code, self.text = command, kind, code, text


class AuthRefused(CommandFailed):
    """The server did not accept the credentials. `status` is its word for why, such as `invalid_token`."""

    def __init__(
        self, command: str, kind: str, code: str | None, text: str, status: str | None = None
    ) -> None:
        super().__init__(command, kind, code, f"{text} ({status})" if status else text)
        self.status = status


class ServerBusy(CommandFailed):
    """Throttled, over a quota, too many connections: try later. `wait` is the server's own word, if any."""

    def __init__(
        self, command: str, kind: str, code: str | None, text: str, wait: timedelta | None = None
    ) -> None:
        super().__init__(command, kind, code, text)
        self.wait = wait
