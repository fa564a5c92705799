"""What kind of mail number n is, and which mail it answers: decided from numbers alone, making no mail.

About two of five mails belong to conversations. Most of those are short; in each stretch of a thousand mails
one conversation runs on for dozens of answers.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache

from postroom.lab.people import LISTS, OWNER, PEOPLE, SENDERS, Person
from postroom.lab.words import BY_SHARE, Language

FIRST = datetime(2016, 1, 4, 7, 30, tzinfo=UTC)
SPAN = timedelta(days=3400)
HALF_WAY = (
    9_000  # this many mails in, half of the span has passed: mail grows denser and never reaches its end
)
STRETCH = 1_000
MASK = (1 << 64) - 1


class Kind(Enum):
    """What a mail is for."""

    NEWSLETTER = "newsletter"
    NOTICE = "notice"
    PERSONAL = "personal"
    REPLY = "reply"
    INVITATION = "invitation"
    PICTURES = "pictures"
    ATTACHED = "attached"


SHARES = (
    (Kind.NEWSLETTER, 300),
    (Kind.NOTICE, 200),
    (Kind.PERSONAL, 130),
    (Kind.REPLY, 215),
    (Kind.INVITATION, 20),
    (Kind.PICTURES, 15),
    (Kind.ATTACHED, 120),
)
BY_SHARE_OF_KIND = tuple(kind for kind, share in SHARES for _ in range(share))
CONVERSING = frozenset({Kind.PERSONAL, Kind.REPLY, Kind.ATTACHED, Kind.PICTURES})


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything about a mail that other mails of its thread need to agree with."""

    number: int
    kind: Kind
    language: Language
    sender: Person
    recipients: tuple[Person, ...]
    ancestors: tuple[int, ...]  # nearest first
    list_name: str | None = None


def dice(seed: int, number: int, salt: int) -> int:
    """64 well-mixed bits from three numbers (the finaliser of SplitMix64, twice)."""
    state = (seed * 0x9E3779B97F4A7C15 + number * 0xD1B54A32D192ED03 + salt * 0x8CB92BA72F3D8DD7) & MASK
    for _ in range(2):
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
        state ^= state >> 31
    return state


def kind_of(seed: int, number: int) -> Kind:
    """Cheap: one throw."""
    return BY_SHARE_OF_KIND[dice(seed, number, 1) % 1000]


@lru_cache(maxsize=8192)
def parent_of(seed: int, number: int) -> int | None:
    """The mail that this one answers."""
    kind = kind_of(seed, number)
    if kind is Kind.ATTACHED and dice(seed, number, 2) % 2:
        kind = Kind.REPLY
    if kind is not Kind.REPLY:
        return None
    long = _long_conversation(seed, number // STRETCH)
    if number in long:
        place = long.index(number)
        back = 1 if dice(seed, number, 3) % 4 else 2
        return long[max(place - back, 0)] if place else None
    candidate = number - 1 - dice(seed, number, 4) % 80
    while candidate >= 0:
        if kind_of(seed, candidate) in CONVERSING:
            return candidate
        candidate -= 1
    return None


@lru_cache(maxsize=16)
def _long_conversation(seed: int, stretch: int) -> tuple[int, ...]:
    numbers = range(stretch * STRETCH, (stretch + 1) * STRETCH)
    return tuple(n for n in numbers if kind_of(seed, n) is Kind.REPLY and dice(seed, n, 5) % 4 == 0)


@lru_cache(maxsize=4096)
def facts_of(seed: int, number: int) -> Facts:
    """The same for the same numbers, always."""
    kind, ancestors = kind_of(seed, number), _ancestors(seed, number)
    root = ancestors[-1] if ancestors else number
    language = BY_SHARE[dice(seed, root, 6) % 100]
    throw = dice(seed, number, 7)
    if kind is Kind.NEWSLETTER or kind is Kind.NOTICE:
        company = SENDERS[throw % len(SENDERS)]
        listed = LISTS[throw % len(LISTS)] if kind is Kind.NEWSLETTER and throw % 5 == 0 else None
        return Facts(number, kind, language, company, (OWNER,), (), listed)
    circle = PEOPLE[language.code]
    start = dice(seed, root, 8) % len(circle)
    company_of_root = [circle[(start + step) % len(circle)] for step in range(2 + dice(seed, root, 9) % 4)]
    everybody = [OWNER, *company_of_root]
    sender = everybody[throw % len(everybody)] if ancestors else company_of_root[0]
    others = tuple(person for person in everybody if person != sender)
    return Facts(number, kind, language, sender, others, ancestors)


def _ancestors(seed: int, number: int) -> tuple[int, ...]:
    found: list[int] = []
    parent = parent_of(seed, number)
    while parent is not None:
        found.append(parent)
        parent = parent_of(seed, parent)
    return tuple(found)


def received_at(seed: int, number: int) -> datetime:
    """When the mail arrived: later for a greater number, and always in the past."""
    here, after = (SPAN * (place / (place + HALF_WAY)) for place in (number, number + 1))
    jitter = (after - here) * (dice(seed, number, 10) / MASK * 0.999)
    return (FIRST + here + jitter).replace(microsecond=0)


def message_id(seed: int, number: int) -> str:
    """Unique among well-behaved mails."""
    domain = facts_of(seed, number).sender.address.partition("@")[2]
    return f"<{dice(seed, number, 11):016x}.{number}@{domain}>"
