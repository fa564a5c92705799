"""An IMAP folder that is open, read-only: what is in it, and what changed.

Only UIDs are used, never sequence numbers: those shift under us while others delete.
"""

from array import array
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import date
from itertools import islice
from operator import lt

from postroom.imap import commands
from postroom.imap.commands import Command
from postroom.imap.errors import CommandFailed
from postroom.imap.quirks import Quirk
from postroom.imap.responses import ESearch, Fetch, Response, Search, Vanished
from postroom.imap.uids import LARGEST, UidSet
from postroom.providers.imap.conversation import Conversation, lasting
from postroom.providers.imap.failures import throttled, translated
from postroom.providers.imap.fetch import fetch, still_there, unfetchable
from postroom.providers.model import (
    Changes,
    FolderStatus,
    Incomplete,
    RemoteFolder,
    RemoteItem,
    RemoteMessage,
    Unfetched,
    Unreachable,
)

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
OVERLAP = 1000  # modseqs that are asked for again where they rise before their change can be seen
MOST_REMOVED = 1_000_000  # UIDs that an answer may name as gone; a server that forgot its history names all
SHOWN_AT_MOST = 10_000  # messages of a folder, by servers that hide all but the newest
MOST_REFUSED = 300  # commands of one scan; after that it is the server and not a message


class ImapFolder:
    """An `OpenFolder`. Worthless once the conversation opens another."""

    def __init__(self, conversation: Conversation, folder: RemoteFolder, status: FolderStatus) -> None:
        self.folder, self.status = folder, status
        self._conversation = conversation
        self._shown_from = 1

    @property
    def shown_from(self) -> int:
        """More than 1 where a server shows only the newest messages of a folder."""
        return self._shown_from

    async def uids(self) -> Sequence[int]:
        """Every UID, ascending. Raises `Incomplete` when no way of asking gives as many as EXISTS says."""
        self._still_open()
        counted: list[int] = []
        with translated(self._conversation.settings):
            if self._exists == 0:
                return array("I")
            for command in self._ways_to_list():
                found = await self._listed(command)
                if found is not None and len(found) == self._exists:
                    if Quirk.NEWEST_ONLY in self._conversation.quirks and len(found) >= SHOWN_AT_MOST:
                        self._shown_from = found[0]
                    return found
                counted.append(len(found or ()))
        raise Incomplete(
            f"{self._host} says that {self.folder.path} holds {self._exists} messages and lists "
            f"{max(counted)}; nothing is concluded from that.",
            path=self.folder.path,
            messages=self._exists,
            listed=max(counted),
        )

    async def received_since(self, day: date) -> Collection[int]:
        """By UID SEARCH SINCE, which compares days and disregards time zones (RFC 9051, 6.4.4)."""
        self._still_open()
        key = ("SINCE", f"{day.day}-{MONTHS[day.month - 1]}-{day.year:04}")
        with translated(self._conversation.settings):
            found = await self._listed(commands.uid_search(*key))
        if found is None:
            raise Incomplete(f"{self._host} cannot search {self.folder.path} by date.", path=self.folder.path)
        return frozenset(found)

    async def scan(self, uids: Sequence[int]) -> Sequence[RemoteItem]:
        """Flags, size, date; items that the server leaves out even when asked again are None.

        So are all of a message that it passes over; only what a complete listing lacks, too, is gone.
        """
        self._still_open()
        found: dict[int, RemoteItem] = {}
        with translated(self._conversation.settings):
            await self._describe(uids, found)
            silent = [uid for uid in uids if uid not in found or found[uid].flags is None]
            if silent:
                await self._describe(silent, found)
            if passed_over := [uid for uid in silent if uid not in found]:
                there = await self._still_there(passed_over)
                found |= {uid: RemoteItem(uid, None) for uid in passed_over if uid in there}
        return [found[uid] for uid in uids if uid in found]

    async def changes(self, since: FolderStatus, first: int, last: int) -> Changes | None:
        """By CONDSTORE, with removals where QRESYNC is enabled. None: scan everything."""
        self._still_open()
        start = self._asked_from(since)
        if start is None:
            return None
        names_removed = "QRESYNC" in self._conversation.session.enabled
        told = _Told()
        command = commands.uid_fetch(
            f"{first}:{last}", ["FLAGS"], changed_since=start, vanished=names_removed
        )
        with translated(self._conversation.settings):
            try:
                await self._taken(command, told.take)
            except CommandFailed as error:
                if throttled(error):
                    raise
                return None
        return told.changes(names_removed=names_removed)

    async def fetch(self, items: Sequence[RemoteItem]) -> AsyncIterator[RemoteMessage | Unfetched]:
        """In pipelined windows; what the server will not hand out is `Unfetched`, and the rest arrives."""
        self._still_open()
        silent = []
        async with aclosing(fetch(self._conversation, items)) as messages:
            async for message in messages:
                if isinstance(message, Unfetched) and message.error is None:
                    silent.append(message.uid)
                else:
                    yield message
        if silent:  # a search that does not find them may find too little
            there = frozenset(silent).intersection(await self.uids())
            for uid in silent:
                yield unfetchable(self._host, uid) if uid in there else Unfetched(uid, None)

    async def sizes(self, low: int, high: int) -> list[int]:
        """RFC822.SIZE of the messages in a range of UIDs, as far as the server says."""
        command = commands.uid_fetch(f"{low}:{high}", ["RFC822.SIZE"])
        with translated(self._conversation.settings):
            answers = await self._conversation.run(command, lambda one: isinstance(one, Fetch))
        return [one.size for one in answers if isinstance(one, Fetch) and one.size is not None]

    @property
    def _host(self) -> str:
        return self._conversation.settings.host

    @property
    def _exists(self) -> int:
        """As of now: it changes with what others do while we are here."""
        selected = self._conversation.session.selected
        assert selected is not None
        return selected.exists or 0

    def _still_open(self) -> None:
        session = self._conversation.session
        if not session.usable or session.selected is None or session.selected.name != self.folder.name:
            raise Unreachable(f"{self.folder.path} on {self._host} is not open any more.", host=self._host)

    def _ways_to_list(self) -> Iterator[Command]:
        """The first twice, as mail may come or go between the listing and the count."""
        search = ("1:*",) if Quirk.PLAIN_SEARCH in self._conversation.quirks else ("ALL",)
        if self._conversation.offers("ESEARCH", "IMAP4REV2"):
            yield commands.uid_search(*search, returning=["ALL"])
            yield commands.uid_search(*search, returning=["ALL"])
        yield commands.uid_search(*search)
        yield commands.uid_search("1:*")
        for _ in range(2):
            yield commands.uid_fetch("1:*", ["UID"])

    async def _still_there(self, uids: Sequence[int]) -> set[int]:
        there = await still_there(self._conversation, uids)
        if len(there) < len(uids):  # a search may find too little
            there.update(frozenset(uids).intersection(await self.uids()))
        return there

    async def _listed(self, command: Command) -> Sequence[int] | None:
        """The UIDs that this way of asking gives, ascending; None where the server refuses it."""
        found = array("I")

        def take(answer: Response) -> None:
            match answer:
                case ESearch(all=UidSet() as uids) if uids.count <= self._exists:
                    found.extend(uids)
                case Search(numbers=numbers):
                    found.extend(number for number in numbers if 0 < number <= LARGEST)
                case Fetch(uid=int(uid)):
                    found.append(uid)

        try:
            await self._taken(command, take)
        except CommandFailed as error:
            if throttled(error):
                raise
            return None
        return _ascending(found)

    async def _taken(self, command: Command, take: Callable[[Response], None]) -> None:
        (completed,) = await self._conversation.each([command], take)
        if completed.failure:
            raise completed.failure

    async def _describe(self, uids: Iterable[int], found: dict[int, RemoteItem]) -> None:
        """Add what the server tells of these; a command that fails is halved until one message is left."""
        items = ["FLAGS", "INTERNALDATE", "RFC822.SIZE"]
        if self.status.modseq is not None:
            items.append("MODSEQ")
        items += self._object_ids()
        wanted, nameless = frozenset(uids), 0

        def take(answer: Response) -> None:
            nonlocal nameless
            if isinstance(answer, Fetch) and answer.uid in wanted:
                _note(answer, answer.uid, found)
            elif isinstance(answer, Fetch) and answer.uid is None:
                nameless += 1

        sets, refused = list(UidSet.of(wanted).split()), 0
        while sets:
            asked = [commands.uid_fetch(one, items) for one in sets]
            ended = await self._conversation.each(asked, take)
            again: list[UidSet] = []
            for one, done in zip(sets, ended, strict=True):
                if done.failure is not None:
                    refused += 1
                    again += self._halved(one, done.failure, refused, found)
            sets = again
        if nameless and len(found) < len(wanted):
            raise Incomplete(
                f"{self._host} describes messages of {self.folder.path} without saying which.",
                path=self.folder.path,
            )

    def _object_ids(self) -> list[str]:
        """What asks for the server's own id of a message's content, where it has one."""
        if self._conversation.offers("OBJECTID"):
            return ["EMAILID"]
        return ["X-GM-MSGID"] if self._conversation.offers("X-GM-EXT-1") else []

    def _halved(
        self, uids: UidSet, failure: CommandFailed, refused: int, found: dict[int, RemoteItem]
    ) -> list[UidSet]:
        if throttled(failure) or refused > MOST_REFUSED:
            raise failure
        left = [uid for uid in uids if uid not in found]
        if len(left) == 1:
            found[left[0]] = RemoteItem(left[0], None)  # it is there; that is all we know
        if len(left) <= 1:
            return []
        middle = len(left) // 2
        return [UidSet.of(left[:middle]), UidSet.of(left[middle:])]

    def _asked_from(self, since: FolderStatus) -> int | None:
        """The modseq to ask from; None where modseqs cannot be relied on."""
        now = self.status
        if Quirk.NO_MODSEQ in self._conversation.quirks or not since.modseq or not now.modseq:
            return None
        if since.validity is None or since.validity != now.validity or now.modseq < since.modseq:
            return None
        late = Quirk.LATE_MODSEQ in self._conversation.quirks
        return max(since.modseq - (OVERLAP if late else 0), 1)


def _note(answer: Fetch, uid: int, found: dict[int, RemoteItem]) -> None:
    """Merge what was said: an answer may come in parts."""
    item = found.get(uid) or RemoteItem(uid, None)
    found[uid] = replace(
        item,
        flags=item.flags if answer.flags is None else lasting(answer.flags),
        size=item.size if answer.size is None else answer.size,
        received_at=answer.internal_date or item.received_at,
        modseq=item.modseq if answer.modseq is None else answer.modseq,
        object_id=_object_id(answer) or item.object_id,
    )


def _object_id(answer: Fetch) -> str | None:
    if answer.email_id is not None:
        return answer.email_id
    return None if answer.gmail_id is None else f"{answer.gmail_id:x}"


def _ascending(uids: "array[int]") -> "array[int]":
    """Each once and in order, as most servers give them anyway."""
    if all(map(lt, uids, islice(uids, 1, None))):
        return uids
    return array("I", sorted(set(uids)))


class _Told:
    """What the server tells of changes, as it comes."""

    def __init__(self) -> None:
        self._flags: dict[int, frozenset[str]] = {}
        self._removed: set[int] = set()
        self._vague = False  # something changed, and it does not say what

    def take(self, answer: Response) -> None:
        match answer:
            case Fetch(uid=int(uid), flags=frozenset() as now):
                self._flags[uid] = lasting(now)
            case Fetch(seq=seq) if seq:  # without flags, or without saying of which message
                self._vague = True
            case Vanished(uids=uids) if uids.count + len(self._removed) <= MOST_REMOVED:
                self._removed.update(uids)
            case Vanished():
                self._vague = True

    def changes(self, *, names_removed: bool) -> Changes | None:
        if self._vague:
            return None
        flags = {uid: now for uid, now in self._flags.items() if uid not in self._removed}
        return Changes(flags, frozenset(self._removed) if names_removed else None)
