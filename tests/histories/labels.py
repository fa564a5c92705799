"""A mailbox with labels (Gmail) as a model: what lies where is the server's to say, the ids are judged.

There a copy is a label, All Mail holds everything, flags are the same everywhere. Whatever a change does, the
model is made anew of what the lab server holds then, without a session. The server's own id of a message
leads to one id of ours from quiet point to quiet point, unless there ever was an equal mail beside it.
"""

from collections import Counter
from collections.abc import Mapping

from histories.model import Folder, Mail, Places, World

from postroom.lab.mailbox import LabMailbox


class LabelWorld(World):
    """The model of a lab mailbox with labels."""

    def __init__(self, mailbox: LabMailbox) -> None:
        super().__init__([])
        self._mailbox = mailbox
        self._known: dict[int, str] = {}  # the server's id -> ours, at the last quiet point
        self._twins: set[bytes] = set()  # mails that there were two of at some time
        self._read()

    def deliver(self, name: str, raw: bytes, flags: frozenset[str]) -> None:
        del name, raw, flags
        self._read()

    def copy(self, source: str, index: int, target: str) -> None:
        del source, index, target
        self._read()

    def move(self, source: str, index: int, target: str) -> None:
        del source, index, target
        self._read()

    def flag(self, name: str, index: int, flags: frozenset[str]) -> None:
        del name, index, flags
        self._read()

    def expunge(self, name: str, index: int) -> None:
        del name, index
        self._read()

    def create(self, name: str) -> None:
        del name
        self._read()

    def delete(self, name: str) -> None:
        del name
        self._read()

    def rename(self, name: str, new: str) -> None:
        del name, new
        self._read()

    def renumber(self, name: str) -> None:
        del name
        self._read()

    def judge(self, places: Places, folder_ids: Mapping[str, str]) -> list[str]:
        """See `World.judge`; every message lies in All Mail, so that each has one answer there."""
        del folder_ids
        self._read()
        if self.is_vague:  # what came to lie under two ids then stays so
            self._twins |= {mail.raw for _, mail in self.placed()}
            self.is_vague = False
        wrong, now = [], dict[int, str]()
        for name, folder in self.folders.items():
            for mail, public_id in zip(folder.mails, places.get(name, ()), strict=True):
                if mail.raw in self._twins:
                    continue
                if self._known.get(mail.serial, public_id) != public_id:
                    wrong.append(f"{mail.raw[:40]!r} was {self._known[mail.serial]}, became {public_id}")
                if now.setdefault(mail.serial, public_id) != public_id:
                    wrong.append(f"{mail.raw[:40]!r} is {now[mail.serial]} and, in {name}, {public_id}")
        self._known = now
        return wrong

    def _read(self) -> None:
        self.folders = {
            name: Folder(one.id, [Mail(m.id, m.raw(), m.flags) for m in one.messages.values()])
            for name, one in self._mailbox.folders.items()
            if one.selectable
        }
        raws = Counter({mail.serial: mail.raw for _, mail in self.placed()}.values())
        self._twins |= {raw for raw, times in raws.items() if times > 1}
