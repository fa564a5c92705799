"""Fill a Dovecot with generated mail: always the same for the same numbers."""

import random
from collections.abc import Iterator
from datetime import datetime

from servers.dovecot import Dovecot

from postroom.lab.mails import folders, mail, received_at

SYSTEM_FLAGS = ("\\Seen", "\\Answered", "\\Flagged", "\\Draft")


def fill(server: Dovecot, user: str, messages: int, folder_count: int = 12, seed: int = 1) -> dict[str, int]:
    """Put mails into folders of a user, half of them into INBOX. Returns how many each folder holds."""
    names = folders(seed, folder_count)
    filled: dict[str, int] = {}
    for place, name in enumerate(names):
        numbers = _numbers(messages, place, len(names))
        filled[name] = server.append(
            user,
            name,
            (mail(seed, n) for n in numbers),
            received=(received_at(seed, n) for n in numbers),
            flags=(flags(seed, n) for n in numbers),
        )
    return filled


def _numbers(messages: int, place: int, folder_count: int) -> range:
    """The numbers of one folder: every second for INBOX, the rest dealt out to the other folders in turn."""
    if folder_count == 1:
        return range(messages)
    if place == 0:
        return range(0, messages, 2)
    return range(1 + 2 * (place - 1), messages, 2 * (folder_count - 1))


def flags(seed: int, number: int) -> Iterator[str]:
    """Most mail is read, some is answered, a little is flagged."""
    rng = random.Random(seed * 1_000_003 + number)
    for flag, share in zip(SYSTEM_FLAGS, (0.8, 0.2, 0.05, 0.005), strict=True):
        if rng.random() < share:
            yield flag


def newest(seed: int, messages: int) -> datetime:
    """When the last of so many mails arrived."""
    return received_at(seed, messages - 1)
