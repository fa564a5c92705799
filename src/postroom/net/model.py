"""What a domain publishes; and what can go wrong on the way out, each as one sentence for people.

TryLater
├── UnknownHost            no such name, or the name server does not answer
├── PortClosed             the host is there and refuses the connection, or no route leads to it
├── ConnectTimeout         nobody answered in time
├── TlsBrokenOff           the handshake did not come to its end, which says nothing of the server
├── Dropped                the connection broke before the answer was complete; the server may have done it
├── TooSlow                the whole answer did not come in time; the same
├── BadAnswer              what came is no answer that we accept: too long, compressed, not HTTP; the same
└── NotAccepted            a mail server answered, and does not take the mail
NeedsOwner
├── CertificateNotTrusted  with the reason why
└── TlsFailed              whatever answered does not speak TLS that we accept
Invalid
└── BadUrl                 not a URL that we would ask
Forbidden
└── EgressRefused          the policy of this installation does not let us go there
"""

from dataclasses import dataclass
from enum import StrEnum

from postroom import errors


@dataclass(frozen=True, slots=True)
class Service:
    """One server of a service (RFC 2782). An empty host: the domain says that it has no such service."""

    priority: int
    weight: int
    port: int
    host: str


class Distrust(StrEnum):
    """Why a certificate is not trusted."""

    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    SELF_SIGNED = "self_signed"
    WRONG_NAME = "wrong_name"
    UNKNOWN_AUTHORITY = "unknown_authority"
    INVALID = "invalid"


class UnknownHost(errors.TryLater):
    code = "net.unknown_host"


class PortClosed(errors.TryLater):
    code = "net.port_closed"


class ConnectTimeout(errors.TryLater):
    code = "net.connect_timeout"


class TlsBrokenOff(errors.TryLater):
    code = "net.tls_broken_off"


class Dropped(errors.TryLater):
    code = "net.dropped"


class TooSlow(errors.TryLater):
    code = "net.too_slow"


class BadAnswer(errors.TryLater):
    code = "net.bad_answer"


class NotAccepted(errors.TryLater):
    code = "net.not_accepted"


class BadUrl(errors.Invalid):
    code = "net.bad_url"


class EgressRefused(errors.Forbidden):
    code = "net.egress_refused"


class CertificateNotTrusted(errors.NeedsOwner):
    """`reason` says why; `data` holds it for programs."""

    code = "net.certificate_not_trusted"

    def __init__(self, message: str, *, reason: Distrust, host: str) -> None:
        super().__init__(message, reason=str(reason), host=host)
        self.reason = reason


class TlsFailed(errors.NeedsOwner):
    code = "net.tls_failed"
