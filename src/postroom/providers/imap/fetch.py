"""Fetch whole messages in windows: several commands under way, each sized by bytes.

    items ──> windows ──> UID FETCH (BODY.PEEK[]) ──> messages as they come
                 ^                 │ NO, or a message left out
                 └──── halves ─────┘

A window that fails is halved until the message that poisons it stands alone; that one is handed back as
`Unfetched` and all the others arrive. A message that is left out is asked for once more, alone, as another's
literal may have swallowed it; left out again, it is gone, unless a search still finds it, or is refused.
"""

from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from postroom.errors import PostroomError
from postroom.imap import commands
from postroom.imap.commands import Command
from postroom.imap.connection import Completed
from postroom.imap.errors import CommandFailed
from postroom.imap.framing import Spool
from postroom.imap.responses import ESearch, Fetch, Response, Search
from postroom.imap.uids import UidSet
from postroom.providers.imap.conversation import Conversation, lasting, taken
from postroom.providers.imap.failures import throttled, translated
from postroom.providers.imap.shown import shown
from postroom.providers.model import RemoteItem, RemoteMessage, Unfetchable, Unfetched

MOST_MESSAGES = 100
MOST_BYTES = 4 << 20  # of the messages of one command, as far as their sizes are known
UNKNOWN_SIZE = 50_000
UNDER_WAY = 3
SLOWED = 1  # commands under way, where the server answers slowly on purpose
FIRST_BYTES = 1 << 18  # of one command until the link has been measured: it may be slow
EMPTY = "an empty message"
SILENCE = "nothing"
DOUBTFUL = "an answer that is not as long as it says"
MOST_POISON = 20  # messages refused in a row, after which it is the server and not the messages


@dataclass(slots=True)
class Window:
    items: list[RemoteItem]
    again: bool = False  # these were left out of an answer once


class Fetching:
    """One `fetch`: what is still to be asked, what is under way, what is missing."""

    def __init__(self, conversation: Conversation, items: Sequence[RemoteItem]) -> None:
        self._conversation = conversation
        self._todo = deque(windows(items))
        self._under_way: list[tuple[Command, Window]] = []
        self._missing: dict[int, RemoteItem] = {}
        self._useless: dict[int, str] = {}  # the server answered for these, and what it said instead
        self._silent: list[int] = []  # nothing was said of these, twice
        self._poison = 0
        self._left = sum(map(expected, items))  # bytes that were not asked for yet

    async def messages(self) -> AsyncGenerator[RemoteMessage | Unfetched, None]:
        """One answer for each item, in any order. Raises what `postroom.imap` raises."""
        while self._todo:  # windows may be added after the last command was drawn
            if self._conversation.compression_pays(self._left):
                await self._conversation.compress()
            width = SLOWED if self._conversation.is_slowed else UNDER_WAY
            async with aclosing(self._conversation.events(self._commands(width), width)) as events:
                async for event in events:
                    if isinstance(event, Fetch):
                        if (message := self._arrived(event)) is not None:
                            yield message
                    elif isinstance(event, Completed):
                        for lost in self._ended(event.command, event.failure):
                            yield lost
        async for lost in self._searched():
            yield lost

    def suspects(self) -> list[int]:
        """What the server was working on when the connection broke."""
        if not self._under_way:
            return []
        _, window = self._under_way[0]
        return [item.uid for item in window.items if item.uid in self._missing]

    def _commands(self, width: int) -> Iterator[Command]:
        while self._todo and not self._conversation.compression_pays(self._left):
            if width > SLOWED and self._conversation.is_slowed:
                return
            if self._conversation.session.speed is None:
                self._cut()
            window = self._todo.popleft()
            self._left -= sum(map(expected, window.items))
            self._missing.update((item.uid, item) for item in window.items)
            command = commands.uid_fetch(UidSet.of(i.uid for i in window.items), ["BODY.PEEK[]"])
            self._under_way.append((command, window))
            yield command

    def _cut(self) -> None:
        """Make what is asked for next small."""
        window = self._todo[0]
        if not window.again:
            self._todo.popleft()
            self._todo.extendleft(reversed(list(windows(window.items, FIRST_BYTES))))

    def _arrived(self, answer: Fetch) -> RemoteMessage | None:
        """The message in an answer, if it is one that we still miss; whatever else is said is let go."""
        body = answer.body
        item = self._missing.get(answer.uid or 0)
        size = body.size if isinstance(body, Spool) else len(body or b"")
        # An answer that is broken may be so because its literal was not as long as announced.
        doubtful = bool(answer.defects) and item is not None and size != item.size
        if item is None or doubtful or (not size and not (body is not None and item.size == 0)):
            if isinstance(body, Spool):
                body.close()
            if item is not None and _meant_body(answer):
                self._useless[item.uid] = DOUBTFUL if doubtful else EMPTY
            return None
        assert body is not None
        del self._missing[item.uid]
        self._poison = 0
        flags = item.flags if answer.flags is None else lasting(answer.flags)
        return RemoteMessage(item.uid, taken(body), size, flags, item.received_at)

    def _ended(self, command: Command, failure: CommandFailed | None) -> list[Unfetched]:
        """A command is answered, perhaps not the earliest: what of its window did not come?"""
        place = next(place for place, (sent, _) in enumerate(self._under_way) if sent is command)
        _, window = self._under_way.pop(place)
        left = [item for item in window.items if item.uid in self._missing]
        if failure is not None:
            if throttled(failure):
                raise failure
            return self._failed(left, failure)
        if left and not window.again:
            # Dovecot answers with an empty body for what another client has just removed.
            for item in left:
                self._useless.pop(item.uid, None)
            self._todo.extend(Window([item], again=True) for item in left)
            return []
        return [lost for item in left if (lost := self._left_out(item)) is not None]

    def _left_out(self, item: RemoteItem) -> Unfetched | None:
        if item.uid in self._useless:
            return self._give_up(item, self._useless[item.uid])
        del self._missing[item.uid]
        self._silent.append(item.uid)
        return None

    async def _searched(self) -> AsyncGenerator[Unfetched, None]:
        """What was passed over in silence: gone, or found by a search all the same."""
        found = await still_there(self._conversation, self._silent)
        host = self._conversation.settings.host
        for uid in self._silent:
            yield unfetchable(host, uid) if uid in found else Unfetched(uid, None)

    def _failed(self, left: list[RemoteItem], failure: CommandFailed) -> list[Unfetched]:
        if len(left) > 1:
            middle = len(left) // 2
            self._todo.extendleft([Window(left[middle:]), Window(left[:middle])])
            return []
        self._poison += len(left)
        if self._poison > MOST_POISON:
            raise failure
        return [self._give_up(item, shown(failure.text)) for item in left]

    def _give_up(self, item: RemoteItem, said: str) -> Unfetched:
        del self._missing[item.uid]
        return unfetchable(self._conversation.settings.host, item.uid, said)


def _meant_body(answer: Fetch) -> bool:
    """Whether this was an answer to us, and not just news of a flag."""
    return answer.flags is None or any(key.startswith("BODY[") for key in answer.attributes)


def unfetchable(host: str, uid: int, said: str = SILENCE) -> Unfetched:
    """Of a message that is there and not handed out."""
    reason = f"{host} does not hand out message {uid}: {said}"
    return Unfetched(uid, Unfetchable(reason, host=host, uid=uid))


async def still_there(conversation: Conversation, uids: Sequence[int]) -> set[int]:
    """Of messages that were passed over in silence those that a search finds; all, where it is refused."""
    found: set[int] = set()

    def take(answer: Response) -> None:
        match answer:
            case Search(numbers=numbers):
                found.update(numbers)
            case ESearch(all=UidSet() as numbers) if numbers.count <= len(uids):
                found.update(numbers)

    parts = list(UidSet.of(uids).split())
    ended = await conversation.each([commands.uid_search("UID", str(part)) for part in parts], take)
    for part, done in zip(parts, ended, strict=True):
        if done.failure is not None:
            if throttled(done.failure):
                raise done.failure
            found.update(part)
    return found


def expected(item: RemoteItem) -> int:
    """Bytes of a message, as far as its size is known."""
    return UNKNOWN_SIZE if item.size is None else item.size


def windows(items: Sequence[RemoteItem], most: int = MOST_BYTES) -> Iterator[Window]:
    """The items in this order, as many together as the limits allow."""
    window: list[RemoteItem] = []
    size = 0
    for item in items:
        if window and (len(window) == MOST_MESSAGES or size + expected(item) > most):
            yield Window(window)
            window, size = [], 0
        window.append(item)
        size += expected(item)
    if window:
        yield Window(window)


async def fetch(
    conversation: Conversation, items: Sequence[RemoteItem]
) -> AsyncGenerator[RemoteMessage | Unfetched, None]:
    """Raises the port's errors; their `data` names the `suspects` when the connection broke."""
    fetching = Fetching(conversation, items)
    async with aclosing(fetching.messages()) as messages:
        while True:
            try:
                with translated(conversation.settings):
                    message = await anext(messages, None)
            except PostroomError as error:
                error.data["suspects"] = fetching.suspects()
                raise
            if message is None:
                return
            yield message
