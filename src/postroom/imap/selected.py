"""The folder that is open, as far as the server has told.

Only what speaks of the selected folder comes here; STATUS and LIST never do, even if they name it.
"""

from dataclasses import dataclass

from .responses import Code, Exists, Expunge, Fetch, Flags, Recent, Response, Status, Vanished


@dataclass(slots=True)
class Selected:
    """Changes while responses arrive; copy what you want to keep. None means that the server did not say."""

    name: bytes
    exists: int | None = None
    recent: int | None = None
    validity: int | None = None  # None also for 0
    uid_next: int | None = None
    highest_modseq: int | None = None  # None also for 0 and NOMODSEQ: nothing to ask changes since
    flags: frozenset[str] = frozenset()
    permanent_flags: frozenset[str] | None = None
    mailbox_id: str | None = None
    read_only: bool = False
    renumbered: bool = False  # sequence numbers make no sense any more; list UIDs anew before using one

    def learn(self, response: Response) -> None:
        """Take note of an untagged response (or of a completion's code)."""
        match response:
            case Fetch(seq=seq):
                if not 0 < seq <= (self.exists or 0):
                    self.renumbered = True
            case Exists(count):
                if count < (self.exists or 0):
                    self.renumbered = True
                self.exists = count
            case Expunge(seq):
                self._shrink(1 if seq else 0, plausible=0 < seq <= (self.exists or 0))
            case Vanished(uids, earlier=False):
                self._shrink(uids.count, plausible=uids.count <= (self.exists or 0))
            case Recent(count):
                self.recent = count
            case Flags(flags):
                self.flags = flags
            case Status(kind="OK", code=Code() as code):
                self._note(code)

    def _shrink(self, by: int, *, plausible: bool) -> None:
        if not plausible:
            self.renumbered = True
        elif self.exists is not None:
            self.exists -= by

    def _note(self, code: Code) -> None:
        match code:
            case Code("UIDVALIDITY", int(value)):
                self.validity = value or None
            case Code("UIDNEXT", int(value)):
                self.uid_next = value or None
            case Code("HIGHESTMODSEQ", int(value)):
                self.highest_modseq = value or None
            case Code("NOMODSEQ"):
                self.highest_modseq = None
            case Code("PERMANENTFLAGS", frozenset() as flags):
                self.permanent_flags = flags
            case Code("MAILBOXID", str(value)):
                self.mailbox_id = value
            case Code("READ-ONLY" | "READ-WRITE" as mode):
                self.read_only = mode == "READ-ONLY"
