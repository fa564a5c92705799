"""Folders that fail: which to leave alone, and what a failure or a success means for the next sync.

    in order --fails--> 1 --fails--> 2 --fails--> parked: left alone until its time has come, or somebody asks
        ^               │            │              │
        └──── works ────┴────────────┴──────────────┘

A folder that fails is looked at after all others: on some servers the failure ends the connection. Such an
end counts only when that had been of use for another folder, else it is the network's.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import TypeAlias

from postroom.errors import PostroomError
from postroom.ids import FolderId
from postroom.mail.model import Folder
from postroom.providers.model import RemoteFolder

from .model import FOLDER_PARKED, Parked, Skipped
from .write import Writer

Pair: TypeAlias = tuple[RemoteFolder, Folder]


class Failing:
    """The folders of one account, during one sync."""

    def __init__(self, writer: Writer, before: Mapping[FolderId, Parked]) -> None:
        self._writer, self._before = writer, before
        self._failed: set[FolderId] = set()
        self.is_of_use = False  # whether the connection has been, for some folder

    def parted(self, pairs: Sequence[Pair], begun: Container[FolderId]) -> Iterator[Sequence[Pair]]:
        """Folders that are looked at together, and those for which all of these are copied first.

        Where mail has moved is seen between folders that are looked at together. So only those come after the
        others of which nothing has been copied, and those that were parked.
        """
        doubtful = {
            folder.id
            for _, folder in pairs
            if (entry := self._before.get(folder.id)) and (entry.is_parked or folder.id not in begun)
        }
        together = [pair for pair in pairs if pair[1].id not in doubtful]
        yield sorted(together, key=lambda pair: pair[1].id in self._before)
        if doubtful:
            yield [pair for pair in pairs if pair[1].id in doubtful]

    def left_alone(self, folder: Folder) -> Skipped | None:
        """What to say of a folder that is not to be looked at yet; None for one that is."""
        entry = self._before.get(folder.id)
        if entry is None or not entry.is_parked or entry.is_due:
            return None
        when = f"{entry.retry_at:%Y-%m-%d %H:%M} UTC"
        message = f"It failed {entry.attempts} times in a row and waits until {when}: {entry.reason}"
        return Skipped(folder.path, FOLDER_PARKED, message)

    async def failed(self, folder: Folder, error: PostroomError) -> None:
        """Count it, once in a sync."""
        if folder.id not in self._failed:
            self._failed.add(folder.id)
            await self._writer.fail_folder(folder, error, times=1)

    async def broke_off(self, folder: Folder, error: PostroomError) -> None:
        """The connection ended while the folder was looked at."""
        await self._writer.fail_folder(folder, error, times=1 if self.is_of_use else 0)

    async def worked(self, folder: Folder) -> None:
        """All that it needed has been done."""
        if folder.id in self._before and folder.id not in self._failed:
            await self._writer.mend_folder(folder)
