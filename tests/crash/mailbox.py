"""The lab server's mailbox as a `World`, without a session: what others do to it while nobody looks."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from crash.language import raw
from crash.model import Place

from postroom.lab.mailbox import LabFolder, LabMailbox

START = datetime(2026, 1, 1, tzinfo=UTC)


class Elsewhere:
    """Another client of the same mailbox."""

    def __init__(self, mailbox: LabMailbox, validity: int | None = None) -> None:
        self._mailbox, self._validity = mailbox, validity
        if validity is not None:
            mailbox.folder("INBOX").validity = validity

    def create(self, folder: str) -> None:
        self._mailbox.create(folder, validity=self._validity)

    def delete(self, folder: str) -> None:
        self._mailbox.delete(folder)

    def hollow(self, folder: str) -> None:
        self.empty(folder)
        self._folder(folder).selectable = False

    def rename(self, folder: str, name: str) -> None:
        self._mailbox.rename(folder, name)

    def deliver(self, folder: str, word: str, flags: frozenset[str]) -> None:
        content = raw(word)
        self._folder(folder).deliver(content, flags=flags, received=START + timedelta(minutes=len(content)))

    def flag(self, folder: str, word: str, given: frozenset[str], taken: frozenset[str]) -> None:
        found, uid = self._folder(folder), self._uid(folder, word)
        found.flag(uid, found.messages[uid].flags - taken | given)

    def expunge(self, folder: str, words: Sequence[str]) -> None:
        for word in words:
            self._folder(folder).expunge(self._uid(folder, word))

    def copy(self, folder: str, words: Sequence[str], target: str) -> None:
        for word in words:
            self._mailbox.copy(folder, self._uid(folder, word), target)

    def move(self, folder: str, words: Sequence[str], target: str) -> None:
        for word in words:
            self._mailbox.move(folder, self._uid(folder, word), target)

    def empty(self, folder: str) -> None:
        self._folder(folder).expunge(*self._folder(folder).messages)

    def renumber(self, folder: str, *, reverse: bool) -> None:
        found = self._folder(folder)
        if reverse:
            found.messages = dict(reversed(found.messages.items()))
        found.change_validity()

    def backwards(self, folder: str) -> None:
        """As after a backup was played back: every number starts again from 1."""
        found = self._folder(folder)
        found.modseq = 1
        found.gone.clear()
        for message in found.messages.values():
            message.modseq = 1

    def state(self) -> dict[Place, tuple[bytes, frozenset[str]]]:
        """What lies where, as clients see it."""
        return {
            (name, uid): (mail.raw(), mail.flags)
            for name, folder in self._mailbox.folders.items()
            for uid, mail in folder.messages.items()
        }

    def _folder(self, name: str) -> LabFolder:
        return self._mailbox.folder(name)

    def _uid(self, folder: str, word: str) -> int:
        content = raw(word)
        return next(uid for uid, mail in self._folder(folder).messages.items() if mail.raw() == content)
