"""Be told of changes by an IMAP server: by NOTIFY (RFC 5465) of all folders, or by IDLE (RFC 2177) of one.

    EXAMINE ─> NOTIFY SET STATUS (selected ...) (personal ...) ──> IDLE ── DONE ──> IDLE
                 └─ refused ─> with fewer events ─ refused ─> IDLE ── DONE ──> IDLE
    every response, whenever it comes ─> `hear` ─> Changed, Ended

NOTIFY needs neither a folder that is open nor IDLE. Both are there for Dovecot (2.3): of folders that are not
open it tells only what came by its own programs, and not what others have put into a Maildir; of the open one
it forgets every second change, unless the session idles.

Thousands wait at once, so each is small: no task, no timer, and nothing of what it has told but the notices
after which nobody has looked yet.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from postroom.errors import PostroomError
from postroom.imap import commands
from postroom.imap import responses as said
from postroom.imap.commands import Events
from postroom.imap.connection import Completed, Event
from postroom.imap.errors import CommandFailed
from postroom.imap.quirks import Quirk
from postroom.providers.imap.conversation import Conversation
from postroom.providers.imap.failures import throttled, translated, translation
from postroom.providers.imap.listing import identity, status_of
from postroom.providers.model import (
    Changed,
    Ended,
    FolderStatus,
    Means,
    Notice,
    RemoteFolder,
    ServerRefused,
    Unreachable,
)

RENEW = timedelta(minutes=24)  # a server may forget us after 30 (RFC 9051, 5.4)
RENEW_SOON = timedelta(minutes=9)
MOST_UNSEEN = 100  # different notices; what comes after them is: look at everything
EVERYTHING = Changed()
NEW, CHANGED, NAMED = ("MessageNew", "MessageExpunge"), ("FlagChange",), ("MailboxName",)
ASKED = (  # of the open folder, and of all; some servers know only what RFC 5465 demands of all
    (Events("selected", NEW + CHANGED), Events("personal", NEW + CHANGED + NAMED)),
    (Events("selected", NEW), Events("personal", NEW)),
)


def can_tell(conversation: Conversation) -> bool:
    """Whether there is any hope."""
    return conversation.offers("NOTIFY", "IDLE")


class ImapWatching:
    """A `Watching`, with a folder open that has this status."""

    __slots__ = ("_conversation", "_error", "_folder", "_told", "_unseen", "folders", "means", "statuses")

    def __init__(
        self,
        conversation: Conversation,
        told: Callable[[Notice], None],
        folder: RemoteFolder,
        status: FolderStatus,
    ) -> None:
        self._conversation, self._told, self._folder = conversation, told, folder.name
        self.means = Means.IDLE
        self.folders: frozenset[bytes] | None = frozenset({folder.name})
        self.statuses: Mapping[bytes, FolderStatus] = {folder.name: status}
        self._unseen: set[Changed] = set()
        self._error: PostroomError | None = None  # why it has ended

    @property
    def renew_within(self) -> timedelta:
        return RENEW_SOON if Quirk.SHORT_IDLE in self._conversation.quirks else RENEW

    def looked(self) -> None:
        """What was told may be told again."""
        self._unseen = set()

    async def begin(self, wanted: Sequence[RemoteFolder]) -> bool:
        """Have the server tell, if it will, of these folders or the open one. Raises what `imap` raises."""
        await self._notify(wanted)
        return await self._listen()

    async def _notify(self, wanted: Sequence[RemoteFolder]) -> None:
        conversation = self._conversation
        statuses = dict(self.statuses)

        def take(answer: said.Response) -> None:
            if isinstance(answer, said.FolderStatus) and answer.items.get("MESSAGES") is not None:
                statuses[identity(answer.name)] = status_of(answer.items)
            else:
                self.hear(answer)

        if not conversation.offers("NOTIFY") or not await self._asked(take):
            return
        self.means, self.statuses = Means.NOTIFY, statuses
        # What is not in a personal namespace has no status here, and is not told of.
        told_of_all = {folder.name for folder in wanted if folder.selectable} <= statuses.keys()
        self.folders = None if told_of_all else frozenset(statuses)

    async def _asked(self, take: Callable[[said.Response], None]) -> bool:
        for events in ASKED:
            (completed,) = await self._conversation.each([commands.notify(*events, status=True)], take)
            if completed.failure is None:
                return True
            if throttled(completed.failure):
                raise completed.failure
        self._conversation.without |= {"NOTIFY"}
        return False

    async def _listen(self) -> bool:
        """Whether something will be told."""
        conversation = self._conversation
        if conversation.offers("IDLE"):
            try:
                async with conversation.patience.waiting():
                    await conversation.session.idle(self.hear)
                return True
            except CommandFailed as error:
                if throttled(error):
                    raise
                conversation.without |= {"IDLE"}
        if self.means is Means.NOTIFY:
            await conversation.each([commands.noop()], self.hear)
            await conversation.session.listen(self.hear)
        return self.means is Means.NOTIFY

    async def renew(self) -> None:
        """DONE and IDLE; NOOP where there is only NOTIFY. Raises `TryLater`."""
        conversation = self._conversation
        host = conversation.settings.host
        if self._error is None and not conversation.session.listening:  # a renewal was cut off
            self._error = _over(host)
        if self._error is not None:
            raise self._error
        self.statuses = {}
        try:
            with translated(conversation.settings):
                await self._quiet()
                if not await self._listen():
                    raise ServerRefused(f"{host} will not tell of changes any more.", host=host)
        except PostroomError as error:
            self._error = error
            raise

    async def end(self) -> None:
        """Nothing is told any more; the session takes other commands. Raises what `postroom.imap` raises."""
        conversation = self._conversation
        if conversation.session.listening:
            await self._quiet()
            if self.means is Means.NOTIFY:
                await conversation.each([commands.notify()], self.hear)
        self._error = self._error or _over(conversation.settings.host)

    async def _quiet(self) -> None:
        async with self._conversation.patience.waiting():
            await self._conversation.session.done()

    def hear(self, event: Event | Exception) -> None:
        """Whatever the server says."""
        match event:
            case said.Exists(count):
                self._changed(self._folder, count)
            case said.Expunge() | said.Vanished() | said.Fetch() | said.Unreadable():
                self._changed(self._folder)
            case said.FolderStatus(name, items):
                self._changed(identity(name), status_of(items).messages)
            case said.Listed(lsub=False):
                self._changed(None)
            case said.Status(tag=None, code=said.Code("NOTIFICATIONOVERFLOW")):
                self._conversation.without |= {"NOTIFY"}
                self._changed(None)
                self._end_with("does not tell of changes any more, as there are too many")
            case Completed(failure=CommandFailed() as failure):
                self._stop(translation(failure, self._conversation.settings))
            case Completed():
                self._end_with("has stopped telling of changes")
            case Exception():
                self._stop(translation(event, self._conversation.settings))

    def _changed(self, folder: bytes | None, messages: int | None = None) -> None:
        notice = Changed(folder, messages)
        if self._error is not None or notice in self._unseen or EVERYTHING in self._unseen:
            return
        if len(self._unseen) >= MOST_UNSEEN:
            notice = EVERYTHING
        self._unseen.add(notice)
        self._told(notice)

    def _end_with(self, what: str) -> None:
        host = self._conversation.settings.host
        self._stop(ServerRefused(f"{host} {what}.", host=host))

    def _stop(self, error: PostroomError) -> None:
        if self._error is None:
            self._error = error.with_traceback(None)
            self._told(Ended(error))


def _over(host: str) -> PostroomError:
    return Unreachable(f"{host} is not watched any more.", host=host)
