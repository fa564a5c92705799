"""What a lab server offers: how it can tell of changes, and which ids it knows messages by.

Presets, of which a server plays one:
    qresync     all there is: changes and removals since a modification sequence (RFC 7162)
    condstore   changed flags since a modification sequence, but no removals
    plain       IMAP4rev1 as of long ago: no sequences, no ESEARCH, no extended LIST
Extensions, of which it may play any:
    objectid    EMAILID, THREADID, MAILBOXID (RFC 8474); copies and moves keep the EMAILID
    gmail       X-GM-EXT-1: All Mail holds every message, the other folders are labels on it
    compress    COMPRESS=DEFLATE (RFC 4978)
    notify      NOTIFY (RFC 5465)
    scram       SCRAM-SHA-256 (RFC 7677)
    oauth       OAUTHBEARER (RFC 7628) and XOAUTH2
"""

from collections.abc import Iterable

FOR_ALL = ("IMAP4rev1", "SASL-IR", "LITERAL+", "ID")
SIGNED_IN = ("IDLE", "NAMESPACE", "UIDPLUS", "UNSELECT", "MOVE", "SPECIAL-USE", "CHILDREN")
MODERN = ("ENABLE", "ESEARCH", "LIST-EXTENDED", "LIST-STATUS", "CONDSTORE")
PRESETS = {
    "qresync": (*MODERN, "QRESYNC"),
    "condstore": MODERN,
    "plain": (),
}
EXTENSIONS = {
    "objectid": ("OBJECTID",),
    "gmail": ("X-GM-EXT-1",),
    "compress": ("COMPRESS=DEFLATE",),
    "notify": ("NOTIFY",),
    "scram": ("AUTH=SCRAM-SHA-256",),
    "oauth": ("AUTH=OAUTHBEARER", "AUTH=XOAUTH2"),
}
OFFERS = (*PRESETS, *EXTENSIONS)


class UnknownOffer(Exception):
    """There is no such offer, or there are two presets; the text says which there are."""


def capabilities(offers: str | Iterable[str]) -> tuple[str, ...]:
    """What such a server names after login. Without a preset it is `qresync`. Raises UnknownOffer."""
    names = [offers] if isinstance(offers, str) else list(offers)
    if unknown := [name for name in names if name not in OFFERS]:
        raise UnknownOffer(f"no offer {unknown[0]!r}; there are {', '.join(OFFERS)}")
    presets = [name for name in names if name in PRESETS] or ["qresync"]
    if len(set(presets)) > 1:
        raise UnknownOffer(f"a server is either {' or '.join(presets)}")
    words = [*FOR_ALL, *PRESETS[presets[0]], *SIGNED_IN]
    for name, more in EXTENSIONS.items():
        words += more if name in names else ()
    return tuple(words)
