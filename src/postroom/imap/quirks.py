"""Servers that do not do what they announce: one table of server, what to do otherwise, evidence, test.

A server is recognised by its greeting, by what it says to ID, and by its host name; each is only a hint,
so a quirk may cost speed but never correctness. Faults that are recognised from the response itself
(a bare `* [COPYUID ...]`, broken BODYSTRUCTURE, SEARCH for ESEARCH) need no row: they are always tolerated.
"""

import re
from dataclasses import dataclass
from enum import Enum

from .responses import ServerId, Status


class Quirk(Enum):
    """What to do differently."""

    PLAIN_LIST = "LIST without RETURN: the extended form is refused or returns nothing"
    NO_NAMESPACE = "NAMESPACE ends the session"
    NO_QRESYNC = "VANISHED cannot be trusted as proof that a message is gone"
    NO_MOVE = "MOVE is announced and broken: COPY, mark deleted, UID EXPUNGE"
    LATE_MODSEQ = "HIGHESTMODSEQ rises before the change can be seen: ask from a little earlier"
    NO_MODSEQ = "modseqs are negative or go backwards: compare flags instead"
    NEWEST_ONLY = "a folder shows only its newest 10,000 messages; the others are not deleted"
    PLAIN_SEARCH = "UID SEARCH ALL is refused: say 1:*"
    SHORT_IDLE = "a session that idles for ten minutes is forgotten: begin anew before"
    SHORT_SEARCH = "SEARCH returns only the first 1,000: compare with EXISTS, list by FETCH"


@dataclass(frozen=True, slots=True)
class Row:
    server: re.Pattern[str]  # searched in greeting, ID and host name, one a line
    quirks: frozenset[Quirk]
    evidence: str
    test: str  # in tests/imap/test_quirks.py


def _row(server: str, *quirks: Quirk, evidence: str, test: str) -> Row:
    return Row(re.compile(server, re.IGNORECASE), frozenset(quirks), evidence, test)


TABLE = (
    _row(
        r"proton ?mail bridge|gluon",
        Quirk.PLAIN_LIST,
        evidence="MailKit, ImapEngine: SPECIAL-USE LIST answers BAD",
        test="test_proton_bridge_gets_a_plain_list",
    ),
    _row(
        r"imap\.strato\.(?:de|com)|rzone\.de",
        Quirk.PLAIN_LIST,
        evidence="MailKit#1957: LIST RETURN (...) returns nothing",
        test="test_strato_gets_a_plain_list",
    ),
    _row(
        r"Exchange Server 2003|Microsoft Exchange IMAP4rev1 server version 6\.5",
        Quirk.NO_NAMESPACE,
        Quirk.NO_MOVE,
        evidence="MailKit#1512: the connection drops on NAMESPACE",
        test="test_exchange_2003_is_not_asked_for_namespaces",
    ),
    _row(
        r"The Microsoft Exchange IMAP4 service|Microsoft\.Exchange",
        Quirk.NO_MOVE,
        evidence="isync README: DisableExtension MOVE",
        test="test_exchange_moves_by_copying",
    ),
    _row(
        r"\.mail\.me\.com|\.icloud\.com|\bicloud\b",
        Quirk.NO_QRESYNC,
        evidence="Mailspring-Sync#91: VANISHED malformed, mail disappears",
        test="test_icloud_is_not_believed_about_what_vanished",
    ),
    _row(
        r"\bgimap\b|imap\.gmail\.com|imap\.googlemail\.com",
        Quirk.LATE_MODSEQ,
        evidence="closeio/sync-engine, generic.py: HIGHESTMODSEQ before the change is visible",
        test="test_gmail_is_asked_from_a_little_earlier",
    ),
    _row(
        r"\bgimap\b|imap\.gmail\.com|imap\.googlemail\.com|imap\.(?:ya\.ru|yandex\.)",
        Quirk.SHORT_IDLE,
        evidence="MailKit, ImapIdle sample: Gmail hangs up after ten minutes; imapclient#234: Yandex",
        test="test_gmail_and_yandex_idle_for_nine_minutes",
    ),
    _row(
        r"\bzoho\b|imap(?:pro)?\.zoho\.",
        Quirk.NO_MODSEQ,
        evidence="MailKit transcript: negative MODSEQ values",
        test="test_zoho_modseqs_are_not_used",
    ),
    _row(
        r"imap\.mail\.(?:yahoo|aol)\.|imap\.aol\.com|\bYMail\b|Yahoo!",
        Quirk.NEWEST_ONLY,
        evidence="bichon#144, #271: the newest 10,000 of a folder",
        test="test_yahoo_hides_all_but_the_newest",
    ),
    _row(
        r"Oracle Beehive|mail2world",
        Quirk.PLAIN_SEARCH,
        evidence="closeio/sync-engine b8b082f1: UID SEARCH (ALL) refused",
        test="test_beehive_searches_by_range",
    ),
)


def of(greeting: Status | None, said: ServerId | None, host: str = "") -> frozenset[Quirk]:
    """The quirks of this server, as far as one can tell."""
    lines = [greeting.text if greeting else "", host, *(said.fields.values() if said else ())]
    known = "\n".join(lines)
    return frozenset(quirk for row in TABLE if row.server.search(known) for quirk in row.quirks)
