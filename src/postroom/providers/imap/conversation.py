"""A session that is patient while the server talks, and not when it falls silent."""

import asyncio
import io
import os
import re
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from functools import lru_cache
from itertools import chain
from typing import IO, BinaryIO

from postroom.imap.aio import Session
from postroom.imap.commands import Command
from postroom.imap.connection import Completed, Event
from postroom.imap.errors import CommandFailed, LimitExceeded, RemoteError
from postroom.imap.framing import Spool
from postroom.imap.quirks import Quirk
from postroom.imap.responses import Response
from postroom.providers.imap.compression import Compress, in_vain, pays
from postroom.providers.imap.settings import ImapSettings
from postroom.providers.imap.shown import shown

RECENT = frozenset({"\\Recent"})
NO_FLAG = re.compile(r"[\x00-\x20\x7f]")
Keep = Callable[[Response], bool]

SILENCE = 60.0  # seconds without a byte while a command runs
GRAIN = 1.0  # seconds within which several signs of life count as one
IN_MEMORY = 4 << 20  # bytes of one message; larger ones are in files
SPOOL_OVER = 1 << 17  # literals above this tell of every piece that arrives
MOST_KEPT = 500_000  # responses that one command may leave in memory


class Patience:
    """Runs out after `SILENCE`, begins anew with every sign of life."""

    def __init__(self) -> None:
        self._limit: asyncio.Timeout | None = None
        self._heard = 0.0

    def heard(self) -> None:
        """The server said something."""
        now = asyncio.get_running_loop().time()
        # Bytes may still arrive between the end of our patience and the end of the block.
        if self._limit is not None and now - self._heard > GRAIN and not self._limit.expired():
            self._heard = now
            self._limit.reschedule(now + SILENCE)

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        """Raises `TimeoutError` inside the block."""
        self._heard = asyncio.get_running_loop().time()
        async with asyncio.timeout(SILENCE) as self._limit:
            try:
                yield
            finally:
                self._limit = None

    def spool(self, size: int) -> IO[bytes]:
        """Where a literal of this size goes: each piece of it is a sign of life."""
        return _Memory(self) if size <= IN_MEMORY else _File(self)


class _Memory(io.BytesIO):
    """Keeps the pieces as they come, and puts them together once, when it is read."""

    def __init__(self, patience: Patience) -> None:
        super().__init__()
        self._patience = patience
        self._pieces: list[bytes | memoryview] = []

    def write(self, data: bytes | memoryview) -> int:  # type: ignore[override]
        self._patience.heard()
        self._pieces.append(data)
        return len(data)

    def read(self, size: int | None = -1, /) -> bytes:
        if self._pieces:
            super().__init__(b"".join(self._pieces))
            self._pieces.clear()
        return super().read(size)


class _File(io.BufferedRandom):
    def __init__(self, patience: Patience) -> None:
        super().__init__(tempfile.TemporaryFile(buffering=0))  # noqa: SIM115  it is closed with us
        self._patience = patience

    def write(self, data: bytes | memoryview) -> int:  # type: ignore[override]
        self._patience.heard()
        return super().write(data)


def taken(body: bytes | Spool) -> bytes | BinaryIO:
    """A message's content: in memory, or a file that the caller closes."""
    if isinstance(body, bytes):
        return body
    try:
        if body.size <= IN_MEMORY:
            return body.read()
        body.file.seek(0)
        return os.fdopen(os.dup(body.file.fileno()), "rb")
    finally:
        body.close()


@lru_cache(maxsize=4096)
def lasting(flags: frozenset[str]) -> frozenset[str]:
    """Without `\\Recent`, which speaks of this session and not of the message (gone in RFC 9051).

    And without what no flag can be called (RFC 9051, 9: an atom). Few combinations make up a whole mailbox: a
    million messages share them.
    """
    return frozenset(flag for flag in flags - RECENT if flag and not NO_FLAG.search(flag))


class Conversation:
    """One logged-in session, and what is known of its server. Raises what `postroom.imap` raises."""

    def __init__(self, session: Session, patience: Patience, settings: ImapSettings) -> None:
        self.session, self.settings = session, settings
        self.quirks: frozenset[Quirk] = frozenset()
        self.without: frozenset[str] = frozenset()  # what the server offers and did not live up to
        self.ahead: Sequence[Command] = ()  # go before the next command, without a wait; they may be refused
        self.patience = patience
        self.in_clear = settings.compress is Compress.NEVER  # from here on, whatever the server offers
        self._speed_in_clear: float | None = None
        self._slowed = 0  # slow answers that were taken note of

    def offers(self, *capabilities: str) -> bool:
        """Whether the server offers any of these."""
        offered = self.session.capabilities
        return any(name in offered and name not in self.without for name in capabilities)

    @property
    def received(self) -> int:
        """Bytes that the server has said so far."""
        return self.session.received

    def take_alerts(self) -> list[str]:
        """What the server wants its user to read, since the last time."""
        heeded = self.session.heeded
        told, heeded.alerts = heeded.alerts, []
        return [text for one in told if (text := shown(one))]

    def take_slowed(self) -> bool:
        """Whether the server has answered slowly on purpose since the last time."""
        before, self._slowed = self._slowed, self.session.heeded.throttled
        return self._slowed > before

    @property
    def is_slowed(self) -> bool:
        """Whether it ever has: it wants less at a time."""
        return self.session.heeded.throttled > 0

    @property
    def breaks_compressed(self) -> bool:
        """Whether the server broke the protocol after compression was turned on."""
        return self.session.compressed and isinstance(self.session.failure, RemoteError)

    @property
    def is_slower_compressed(self) -> bool:
        """Whether less comes through than before, where that decides."""
        decides = self.session.compressed and self.settings.compress is Compress.AUTO
        return decides and in_vain(self._speed_in_clear, self.session.speed)

    def compression_pays(self, left: int) -> bool:
        """Whether to call `compress` before so many bytes are fetched."""
        session = self.session
        possible = not (session.compressed or self.in_clear) and self.offers("COMPRESS=DEFLATE")
        return possible and pays(self.settings.compress, session.speed, left)

    async def compress(self) -> None:
        """Compress from here on, with no command under way; a server that refuses is not asked again."""
        if self.ahead:
            await self.each([], lambda _: None)
        self.in_clear, self._speed_in_clear = True, self.session.speed
        async with self.patience.waiting():
            with suppress(CommandFailed):
                await self.session.compress()

    async def run(self, command: Command, keep: Keep | None = None) -> list[Response]:
        """The untagged responses, or those worth keeping. Raises `CommandFailed` for NO and BAD."""
        seen: list[Response] = []

        def take(response: Response) -> None:
            if keep is None or keep(response):
                seen.append(response)
                if len(seen) > MOST_KEPT:
                    raise LimitExceeded("number of responses", MOST_KEPT)

        (completed,) = await self.each([command], take)
        if completed.failure:
            raise completed.failure
        return seen

    async def each(self, commands: Iterable[Command], take: Callable[[Response], None]) -> list[Completed]:
        """Hand over each response as it comes, so that none has to be kept; several commands are under way.

        How each command ended is returned in their order; NO and BAD are in the `failure`.
        """
        ended: list[Completed] = []
        ahead, self.ahead = self.ahead, ()
        everything = chain(ahead, commands)
        async with self.patience.waiting(), aclosing(self.session.pipeline(everything)) as events:
            async for event in events:
                self.patience.heard()
                if isinstance(event, Completed):
                    ended.append(event)
                else:
                    take(event)
        return ended[len(ahead) :]

    async def events(self, commands: Iterable[Command], window: int) -> AsyncGenerator[Event, None]:
        """What comes back as it comes; the server's silence counts only while we wait for it."""
        if self.ahead:
            await self.each([], lambda _: None)
        async with aclosing(self.session.pipeline(commands, window=window)) as events:
            while True:
                async with self.patience.waiting():
                    event = await anext(events, None)
                if event is None:
                    return
                yield event
