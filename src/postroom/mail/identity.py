"""Decide which incoming mail is a message that we have already. Pure.

Equal bytes in another folder of the account are a placement of the same message; equal bytes twice in one
folder are two messages. Message-ID plays no part: strangers choose it.
"""

from collections.abc import Iterable, Sequence

from postroom.ids import FolderId

from .model import Incoming, Known


def match(incoming: Sequence[Incoming], known: Iterable[Known]) -> list[Known | int]:
    """For each incoming mail the stored message that it is, or the position in `incoming` of its first copy.

    A message whose position is its own is new. One that lies in no folder at all is preferred: it has moved.
    """
    candidates: dict[bytes, list[tuple[Known | int, set[FolderId]]]] = {}
    for message in sorted(known, key=lambda m: (not m.is_unplaced, m.id)):
        candidates.setdefault(message.digest, []).append((message, set(message.folders)))
    answer: list[Known | int] = []
    for position, mail in enumerate(incoming):
        same = candidates.setdefault(mail.digest, [])
        for who, folders in same:
            if mail.folder_id not in folders:
                folders.add(mail.folder_id)
                answer.append(who)
                break
        else:
            same.append((position, {mail.folder_id}))
            answer.append(position)
    return answer
