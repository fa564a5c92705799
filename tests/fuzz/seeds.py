"""What a fuzzer begins with: mails and transcripts of our own making, and the words that it may use."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count, islice

from fuzz.imap_path import ASKED
from imap.test_framing import STREAM
from imap.test_parser import TABLE
from mime.bombs import BOMBS
from mime.test_fuzz import PIECES

from postroom.lab.mails import mail

LONGEST = {"imap": 1024, "mime": 4096, "swollen": 1024}  # bytes of an input
MAILS = 150

# What servers answer to `imap_path.ASKED`, `--` between two of them.
ANSWERS = r"""
P1 OK [CAPABILITY IMAP4rev1 LITERAL- AUTH=PLAIN SASL-IR] in
* ENABLED QRESYNC CONDSTORE
P3 OK
--
* CAPABILITY IMAP4rev1 ID ENABLE QRESYNC
P1 OK
+
P2 NO [AUTHENTICATIONFAILED] secret
--
* ID ("name" "Dovecot")
* NAMESPACE (("" "/")) NIL NIL
P1 OK
P2 OK
--
P1 OK begin TLS
* OK injected
--
* LIST (\HasNoChildren \Sent) "/" Sent
* STATUS Sent (MESSAGES 3 UIDNEXT 9)
P1 OK
--
* STATUS {1}
a (MESSAGES 2)
P2 OK
* OK [CLOSED]
* 3 EXISTS
* VANISHED (EARLIER) 1:3
P3 OK
--
* 1 FETCH (UID 7 FLAGS (\Seen) BODY[] {12}
Subject: a
)
P2 OK [THROTTLED] done
--
* 1 FETCH (UID 7 FLAGS (\Seen) BODY[] {54}
Subject: b

A body that is long enough for a file.
)
P2 OK
--
* 1 FETCH (UID 7 MODSEQ (12) INTERNALDATE "01-Jan-2026 10:00:00 +0100" RFC822.SIZE 12)
P2 BAD no
--
* ESEARCH (TAG "P2") UID ALL 1:5,9
P2 OK
* VANISHED (EARLIER) 3,5:6
* 2 FETCH (UID 4 FLAGS ())
P3 OK
--
+ go on
P2 OK [APPENDUID 7 9] done
* OK [COPYUID 7 1 9]
* 1 EXPUNGE
P3 OK [HIGHESTMODSEQ 12]
--
P2 NO Suggested Backoff Time: 5000 milliseconds
* BYE [UNAVAILABLE] too many connections
"""
BETWEEN = "\n--\n"
CONVERSATIONS = tuple(
    answer.strip().replace("\n", "\r\n").encode() + b"\r\n" for answer in ANSWERS.split(BETWEEN)
)
WORDS = (
    *rb"""* OK |* NO |* BAD |* BYE |* PREAUTH |+ |P1 OK |P2 OK |P3 NO |[CAPABILITY |[UIDVALIDITY 1]|
[UIDNEXT 9]|[HIGHESTMODSEQ 5]|[NOMODSEQ]|[CLOSED]|[PERMANENTFLAGS (|[COPYUID 1 2 3]|
[APPENDUID 1 2]|[MODIFIED 1]|[MAILBOXID (a)]| FETCH (|UID 1 |FLAGS (|MODSEQ (|BODY[] |
BODY[HEADER.FIELDS (A)] |BODY[1]<0> |RFC822.SIZE 1|INTERNALDATE "|ENVELOPE (|BODYSTRUCTURE (|
X-GM-LABELS (|EMAILID (a)|* LIST (|* LSUB (|* STATUS |* SEARCH|* ESEARCH |* VANISHED |
(EARLIER) |* ID |* NAMESPACE |* ENABLED |* FLAGS (| EXISTS| EXPUNGE| RECENT|NIL|1:*|4294967295|
4294967296|18446744073709551616|&AOQ-|("OLDNAME" (a))|(TAG "P1")|ALL 1:3|(MODSEQ 5)|\Seen|
\Noselect""".replace(b"\n", b"").split(b"|"),
    *(b"\r\n", b"{3}\r\n", b"~{0}\r\n", b"{3+}\r\n"),
)


def of(target: str) -> Sequence[bytes]:
    """The seeds of a target."""
    return list(SEEDS[target]())


def words(target: str) -> Sequence[bytes]:
    """What the fuzzer may write whole."""
    return [*WORDS, *PIECES] if target == "swollen" else WORDS if target == "imap" else PIECES


def _imap() -> Iterator[bytes]:
    for kind in range(len(ASKED)):
        for number, said in enumerate((STREAM, *CONVERSATIONS)):
            yield bytes([kind, number]) + said
    for number, (line, _) in enumerate(TABLE):
        yield bytes([number % len(ASKED), number]) + line + b"\r\n"


def _mime() -> Iterator[bytes]:
    small = (raw for number in count() if len(raw := mail(1, number)) <= LONGEST["mime"])
    yield from islice(small, MAILS)
    for bomb in BOMBS.values():
        yield bomb(300)[: LONGEST["mime"]]


def _swollen() -> Iterator[bytes]:
    for number, said in enumerate(CONVERSATIONS):
        yield bytes([0, number * 20, 16]) + said
    for number, bomb in enumerate(BOMBS.values()):
        yield bytes([1, number * 3, 16]) + bomb(200)[:400]


SEEDS: Mapping[str, Callable[[], Iterator[bytes]]] = {"imap": _imap, "mime": _mime, "swollen": _swollen}
