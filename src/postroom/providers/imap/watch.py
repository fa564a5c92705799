"""Be told of changes by an IMAP server: by NOTIFY (RFC 5465) of all folders, or by IDLE (RFC 2177) of one.

    NOTIFY SET STATUS (personal ...) ──────────> listening ── NOOP ──> listening      no folder is open
      └─ refused ─> with fewer events
                      └─ refused ─> EXAMINE ─> IDLE ── DONE ──> IDLE                   that folder is
    every response, whenever it comes ─> `hear` ─> Changed, Ended

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
)

RENEW = timedelta(minutes=24)  # a server may forget us after 30 (RFC 9051, 5.4)
RENEW_SOON = timedelta(minutes=9)
MOST_UNSEEN = 100  # different notices; what comes after them is: look at everything
EVERYTHING = Changed()
ASKED = (  # what is told of each folder; the last two are refused by servers that do not know them
    ("MessageNew", "MessageExpunge", "FlagChange", "MailboxName"),
    ("MessageNew", "MessageExpunge"),
)


class ImapWatching:
    """A `Watching`: of the folder that is open, by IDLE; or, without one, of all by NOTIFY."""

    __slots__ = ("_conversation", "_error", "_folder", "_told", "_unseen", "folders", "statuses")

    def __init__(
        self,
        conversation: Conversation,
        told: Callable[[Notice], None],
        folder: bytes | None = None,
        statuses: Mapping[bytes, FolderStatus] | None = None,
    ) -> None:
        self._conversation, self._told, self._folder = conversation, told, folder
        self.folders: frozenset[bytes] | None = None if folder is None else frozenset({folder})
        self.statuses = statuses or {}
        self._unseen: set[Changed] = set()
        self._error: PostroomError | None = None  # why it has ended

    @property
    def means(self) -> Means:
        return Means.NOTIFY if self._folder is None else Means.IDLE

    @property
    def renew_within(self) -> timedelta:
        return RENEW_SOON if Quirk.SHORT_IDLE in self._conversation.quirks else RENEW

    def looked(self) -> None:
        """What was told may be told again."""
        self._unseen = set()

    async def begin(self) -> bool:
        """Idle, with the folder open; whether the server does. Raises what `postroom.imap` raises."""
        conversation = self._conversation
        try:
            async with conversation.patience.waiting():
                await conversation.session.idle(self.hear)
        except CommandFailed as error:
            if throttled(error):
                raise
            return False
        return True

    async def renew(self) -> None:
        """DONE and IDLE, or NOOP. Raises `TryLater`."""
        if self._error is not None:
            raise self._error
        self.statuses = {}
        conversation = self._conversation
        host = conversation.settings.host
        try:
            with translated(conversation.settings):
                await self._quiet()
                if self._folder is None:
                    await conversation.each([commands.noop()], self.hear)
                    await conversation.session.listen(self.hear)
                elif not await self.begin():
                    raise ServerRefused(f"{host} will not tell of changes any more.", host=host)
        except PostroomError as error:
            self._error = error
            raise

    async def end(self) -> None:
        """Nothing is told any more; the session takes other commands. Raises what `postroom.imap` raises."""
        conversation = self._conversation
        if conversation.session.listening:
            await self._quiet()
            if self._folder is None:
                await conversation.each([commands.notify()], self.hear)

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


async def notified(
    conversation: Conversation, folders: Sequence[RemoteFolder], told: Callable[[Notice], None]
) -> ImapWatching | None:
    """Be told of all folders, with none open; None where the server refuses. Raises as `begin` does."""
    statuses: dict[bytes, FolderStatus] = {}
    watching = ImapWatching(conversation, told)

    def take(answer: said.Response) -> None:
        if isinstance(answer, said.FolderStatus):
            statuses[identity(answer.name)] = status_of(answer.items)
        else:
            watching.hear(answer)

    for events in ASKED:
        (completed,) = await conversation.each(
            [commands.notify(Events("personal", events), status=True)], take
        )
        failure = completed.failure
        if failure is None:
            break
        if throttled(failure):
            raise failure
    else:
        return None
    watching.statuses = statuses
    if not {folder.name for folder in folders if folder.selectable} <= statuses.keys():
        watching.folders = frozenset(statuses)  # as far as the server says; others may not be ours
    await conversation.session.listen(watching.hear)
    return watching
