"""Realistic mail without end: message number n of a seed is always the same bytes, and can be made alone.

Half of all mails are below 23 KB; one in eight has attachments, and those hold three quarters of all bytes.
One in a hundred is broken as real mail is broken.
"""

from datetime import datetime
from functools import lru_cache
from itertools import chain, count, islice
from random import Random

from postroom.lab import threads
from postroom.lab.bodies import body
from postroom.lab.broken import damaged
from postroom.lab.headers import header
from postroom.lab.prose import Ink
from postroom.lab.threads import Facts, dice, facts_of

ASIAN = frozenset({"shift_jis", "euc-jp", "gb2312", "gb18030", "gbk", "big5", "euc-kr"})
FIRST_FOLDERS = ("INBOX", "Sent", "Archive", "Trash")
LAST_FOLDERS = ("Drafts", "Junk")
FOLDERS = (
    "Projekte/Größe & Maß",
    "Счета",
    "請求書",
    "Reçus d'été",
    "发票",
    "Τιμολόγια",
    "Zamówienia/Łódź",
    "청구서",
    "חשבוניות",
    "فواتير",
    "Faturalar/ağustos",
    "बिल",
    "Lists/garden-talk",
    "Lists/dev-announce",
    "👋 hello",
    "a.b.c",
    "50 % off",
    'say "hi"',
)


@lru_cache(maxsize=200)  # of a small mailbox each mail is asked for again and again; 20 MB of usual ones
def mail(seed: int, number: int) -> bytes:
    """Message `number` of the seed: a whole mail with CRLF line ends (but for the broken ones)."""
    facts = facts_of(seed, number)
    rng = Random(dice(seed, number, 40))
    ink = ink_of(seed, facts)
    raw = header(seed, facts, ink, rng).encode() + body(seed, facts, ink, rng)
    return damaged(raw, dice(seed, number, 42)) if is_broken(seed, number) else raw


def is_broken(seed: int, number: int) -> bool:
    """One mail in a hundred."""
    return dice(seed, number, 41) % 100 == 0


def ink_of(seed: int, facts: Facts) -> Ink:
    """The charset: often the language's first, sometimes one of the others; and how it is transferred."""
    throw = dice(seed, facts.number, 43)
    charsets = facts.language.charsets
    charset = charsets[0] if throw % 2 else charsets[(throw >> 8) % len(charsets)]
    if charset in {"us-ascii", "iso-2022-jp"}:
        return Ink(facts.language.code, charset, "7bit")
    if charset in ASIAN:
        return Ink(facts.language.code, charset, ("base64", "8bit")[(throw >> 16) % 2])
    return Ink(facts.language.code, charset, ("quoted-printable", "base64", "8bit")[(throw >> 16) % 5 // 2])


def received_at(seed: int, number: int) -> datetime:
    """When the mail arrived, in whole seconds: never earlier than the number before, always in the past."""
    return threads.received_at(seed, number)


def folders(seed: int, count_of_folders: int) -> list[str]:
    """Names of folders in several scripts, all different; `/` parts their levels. INBOX is the first."""
    own = list(FOLDERS)
    Random(seed).shuffle(own)
    more = (f"Archive/{year}/{month:02}" for year in count(2001) for month in range(1, 13))
    return list(islice(chain(FIRST_FOLDERS, own, LAST_FOLDERS, more), count_of_folders))
