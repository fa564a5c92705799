"""TLS as a client: certificates are always verified, nothing older than TLS 1.2."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from postroom.net.model import CertificateNotTrusted, Distrust, TlsBrokenOff, TlsFailed

# OpenSSL's X509_V_ERR_* codes; everything else counts as invalid.
REASONS = {
    9: Distrust.NOT_YET_VALID,
    10: Distrust.EXPIRED,
    18: Distrust.SELF_SIGNED,
    19: Distrust.UNKNOWN_AUTHORITY,
    20: Distrust.UNKNOWN_AUTHORITY,
    21: Distrust.UNKNOWN_AUTHORITY,
    62: Distrust.WRONG_NAME,
    64: Distrust.WRONG_NAME,
}
SENTENCES = {
    Distrust.NOT_YET_VALID: "its certificate is not valid yet (is this machine's clock right?)",
    Distrust.EXPIRED: "its certificate has expired",
    Distrust.SELF_SIGNED: "it signed its certificate itself",
    Distrust.WRONG_NAME: "its certificate is for another name",
    Distrust.UNKNOWN_AUTHORITY: "its certificate is signed by an authority that this machine does not know",
    Distrust.INVALID: "its certificate is not valid",
}
# What OpenSSL says when the network, or a server that is going down, broke off or garbled the handshake.
BROKEN_OFF = {
    "UNEXPECTED_EOF_WHILE_READING",
    "TLSV1_ALERT_INTERNAL_ERROR",
    "TLSV1_ALERT_USER_CANCELLED",
    "SSLV3_ALERT_BAD_RECORD_MAC",
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC",
}


class BadCaFile(TlsFailed):
    code = "net.bad_ca_file"


def client_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """A context that trusts the machine's authorities, or only those in `ca_file` (PEM).

    With a file, a certificate in it is trusted as it stands: a server's own one will do. Raises `BadCaFile`.
    """
    if ca_file is None:
        return _context(None, 0)
    try:
        return _context(ca_file, ca_file.stat().st_mtime_ns)
    except (OSError, ssl.SSLError) as error:
        why = error.strerror if not isinstance(error, ssl.SSLError) else "it holds no certificate in PEM"
        raise BadCaFile(f"The CA file {ca_file} cannot be used: {why}.", ca_file=str(ca_file)) from error


@lru_cache(maxsize=64)  # reading the machine's authorities takes 20 ms and a megabyte each time
def _context(ca_file: Path | None, _changed: int) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is not None:
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


@contextmanager
def handshake_with(host: str) -> Iterator[None]:
    """Translate what can go wrong while TLS begins with `host`.

    Raises `CertificateNotTrusted`, `TlsFailed` or `TlsBrokenOff`; lost connections stay what they are.
    """
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        reason = REASONS.get(error.verify_code, Distrust.INVALID)
        said = f"{host} is not trusted: {SENTENCES[reason]}."
        raise CertificateNotTrusted(said, reason=reason, host=host) from error
    except ssl.SSLError as error:
        if isinstance(error, ssl.SSLEOFError) or error.reason in BROKEN_OFF:
            raise TlsBrokenOff(f"The handshake with {host} broke off.", host=host) from error
        raise TlsFailed(_broken(host, error), host=host) from error


def _broken(host: str, error: ssl.SSLError) -> str:
    if error.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"}:
        return f"{host} does not speak TLS on this port."
    if error.reason in {"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION"}:
        return f"{host} speaks only versions of TLS that are no longer safe."
    return f"TLS with {host} failed ({(error.reason or 'no reason given').lower().replace('_', ' ')})."
