"""Decide which messages belong together. Pure.

Every Message-ID that a mail has, answers or mentions leads to one thread. A mail that mentions two threads
joins them; the older one goes on. So mail that arrives in any order, newest first included, ends in the
same threads (RFC 5322, 3.6.4). Threads never cross accounts: a stranger cannot join somebody else's.
"""

import hashlib
from collections.abc import Mapping, Sequence

from postroom.ids import ThreadId
from postroom.mime.model import ParsedMessage

from .model import Group

MOST = 50  # references kept of one mail: the first, and the latest
SHORTEST = 6  # what is shorter, such as `<1>`, is not unique and would join strangers


def keys_of(message: ParsedMessage) -> tuple[str, ...]:
    """The 128-bit hashes, in hexadecimal digits, of all Message-IDs that lead to this mail's thread."""
    references = message.references
    if len(references) > MOST:
        references = (references[0], *references[1 - MOST :])
    own = (message.message_id,) if message.message_id else ()
    ids = dict.fromkeys((*own, *message.in_reply_to[:MOST], *references))
    return tuple(key(text) for text in ids if len(text) >= SHORTEST)


def key(message_id: str) -> str:
    return hashlib.blake2b(message_id.encode("utf-8", "replace"), digest_size=16).hexdigest()


def group(batch: Sequence[Sequence[str]], known: Mapping[str, ThreadId]) -> list[Group]:
    """Sort messages, given by their keys, into threads; `known` tells where stored keys lead."""
    leader: dict[str, int] = {}  # key -> the first message of the batch that has it
    parent = list(range(len(batch)))

    def root(position: int) -> int:
        while parent[position] != position:
            parent[position] = position = parent[parent[position]]
        return position

    by_thread: dict[ThreadId, int] = {}
    for position, keys in enumerate(batch):
        for wanted in keys:
            parent[root(position)] = root(leader.setdefault(wanted, position))
            if (thread := known.get(wanted)) is not None:
                parent[root(position)] = root(by_thread.setdefault(thread, position))
    members: dict[int, list[int]] = {}
    for position in range(len(batch)):
        members.setdefault(root(position), []).append(position)
    return [_group(positions, batch, known) for positions in members.values()]


def _group(positions: list[int], batch: Sequence[Sequence[str]], known: Mapping[str, ThreadId]) -> Group:
    keys = frozenset(key for position in positions for key in batch[position])
    threads = sorted({known[key] for key in keys if key in known})
    return Group(positions, keys, threads)
