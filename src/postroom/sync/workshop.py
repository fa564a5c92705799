"""Where mail is read: a thread for a few messages, a process of its own for many.

Reading is half of a first sync's work, and would otherwise compete with the network and the database for one
core. A process costs a third of a second to start, so a few new messages never wait for one.
"""

import asyncio
import ctypes
import gc
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cached_property, partial
from multiprocessing import get_context
from multiprocessing.context import BaseContext
from typing import Any, Generic, TypeAlias, TypeVar

import structlog

from postroom.ids import TenantId
from postroom.mail.model import Folder
from postroom.providers.model import RemoteMessage

from .arena import Answer, Arena, Slot
from .prepare import Batch, Prepared, prepare

MANY = 400  # messages to copy, from which the process is worth its start
LOOK_AGAIN = 0.005  # seconds, for a free slot: there are some batches' worth of work before that
NICER = 5  # than the process that answers requests, moves mail and feeds this one
PR_SET_PDEATHSIG = 1

logger = structlog.get_logger()

_arena: Arena | None = None  # of a process that reads

T = TypeVar("T")
Reader: TypeAlias = Callable[[TenantId, Folder, Batch], list[Prepared]]


class Work(Generic[T]):
    """A batch on its way. To be closed when what came of it is stored, or wanted no more."""

    def __init__(
        self,
        reading: asyncio.Future[T],
        made: Callable[[T], list[Prepared]],
        over: Callable[[], object] = lambda: None,
    ) -> None:
        self._reading, self._made, self._over = reading, made, over

    async def done(self) -> list[Prepared]:
        """Raises `BrokenProcessPool` when the process died; then `prepare_singly` goes on."""
        return self._made(await self._reading)

    def close(self) -> None:
        self._reading.cancel()
        self._over()


class Workshop:
    """Reads batches off the event loop. Shared by all accounts of a process."""

    def __init__(self, context: BaseContext | None = None, processes: int = 1) -> None:
        self._context, self._count = context, processes
        self._processes: ProcessPoolExecutor | None = None
        self._started: Future[None] | None = None
        self._line = asyncio.Lock()  # for slots: who came later must not have one sooner

    def prepare(self, tenant: TenantId, folder: Folder, batch: Batch, *, many: bool) -> Work[Any]:
        """Begin to read a batch, one of `many` to come or not. What is in files stays in this process."""
        if not (many and self._ready() and self._arena.takes(batch)):
            return self._here(tenant, folder, batch)
        if not self._line.locked() and (work := self._there(tenant, folder, batch)):
            return work
        return self._in_turn(tenant, folder, batch)

    def _here(self, tenant: TenantId, folder: Folder, batch: Batch) -> Work[Any]:
        reading = asyncio.get_running_loop().run_in_executor(None, prepare, tenant, folder, batch)
        return Work(reading, list)

    def _there(self, tenant: TenantId, folder: Folder, batch: Batch) -> Work[Any] | None:
        """None where no slot is free now."""
        if (processes := self._ready()) is None:  # it has died meanwhile
            return self._here(tenant, folder, batch)
        if (slot := self._arena.borrow(batch)) is None:
            return None
        try:
            return self._elsewhere(processes, slot, tenant, folder, batch)
        except BrokenProcessPool:
            self._arena.give_back(slot)
            self._lost()
            return self._here(tenant, folder, batch)

    def _in_turn(self, tenant: TenantId, folder: Folder, batch: Batch) -> Work[Any]:
        """When a slot is free. Threads would read no sooner: they take turns with the event loop.

        First come, first served: what a sync stores first waits for nothing that it stores later.
        """
        begun: list[Work[Any]] = []

        async def read() -> list[Prepared]:
            async with self._line:
                while (work := self._there(tenant, folder, batch)) is None:  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_AGAIN)
                begun.append(work)
            return await work.done()

        def over() -> None:
            for work in begun:
                work.close()

        return Work(asyncio.ensure_future(read()), list, over)

    def _elsewhere(
        self, processes: ProcessPoolExecutor, slot: Slot, tenant: TenantId, folder: Folder, batch: Batch
    ) -> Work[Answer]:
        lean = [(_with_content(message, b""), item) for message, item in batch]
        future = processes.submit(_read, prepare, slot, tenant, folder, lean)

        def over() -> None:  # while the process may still write to the slot, nobody else gets it
            future.cancel()
            future.add_done_callback(lambda _: self._arena.give_back(slot))

        return Work(asyncio.wrap_future(future), partial(self._arena.understand, slot), over)

    async def prepare_singly(
        self, tenant: TenantId, folder: Folder, batch: Batch
    ) -> tuple[list[Prepared], list[int]]:
        """Read a batch whose process has died, and give the uids of those whose reading kills another.

        Somebody may have killed it, or the kernel for want of memory, or one message by a fault of a parser.
        To find that one, each is read in a process that nobody else uses.
        """
        loop = asyncio.get_running_loop()
        alone, prepared, fatal = self._pool(), list[Prepared](), list[int]()
        try:
            for pair in batch:
                try:
                    with _deaf():
                        reading = loop.run_in_executor(alone, prepare, tenant, folder, [pair])
                    prepared += await reading
                except BrokenProcessPool:
                    fatal.append(pair[0].uid)
                    alone = self._pool()
        finally:
            alone.shutdown(wait=False, cancel_futures=True)
        return prepared, fatal

    def close(self) -> None:
        if self._processes is not None:
            self._processes.shutdown(wait=True, cancel_futures=True)
        if "_arena" in vars(self):
            self._arena.close()

    @cached_property
    def _arena(self) -> Arena:
        return Arena()  # for the first process: without one, nothing has to be closed

    def _ready(self) -> ProcessPoolExecutor | None:
        """A process that has started; begins to start one when there is none: a thread bridges the time."""
        if self._context is None:
            return None
        if self._processes is None or self._started is None:
            self._processes = self._pool()
            with _deaf():
                self._started = self._processes.submit(_nothing)
        return self._processes if self._started.done() else None

    def _pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self._count, self._context, _begin, (os.getpid(), self._arena))

    def _lost(self) -> None:
        """The next batch starts another."""
        logger.warning("sync.workshop_lost")
        self._processes = None


@contextmanager
def workshop(processes: int = 1) -> Iterator[Workshop]:
    """A workshop whose processes start when first needed and end with the block, or with us."""
    shop = Workshop(get_context("spawn"), processes)
    try:
        yield shop
    finally:
        shop.close()


@contextmanager
def _deaf() -> Iterator[None]:
    """What is started in the block never hears a terminal's Ctrl-C, not even while it imports."""
    heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, heard)


def _begin(parent: int, arena: Arena) -> None:
    """What a process does first."""
    global _arena
    _arena = arena
    _follow_parent(parent)
    os.nice(NICER)
    gc.freeze()
    gc.set_threshold(
        50_000, 20, 100
    )  # nothing that reading makes refers to itself; looking for that took 5 %


def _nothing() -> None:
    """A process that has done it has imported all that reading takes."""


def _read(reader: Reader, slot: Slot, tenant: TenantId, folder: Folder, lean: Batch) -> Answer:
    """In the process: read the messages that lie in a slot."""
    assert _arena is not None
    batch = [
        (_with_content(message, bytes(place)), item)
        for (message, item), place in zip(lean, _arena.places(slot), strict=True)
    ]
    return _arena.answer(slot, reader(tenant, folder, batch))


def _with_content(message: RemoteMessage, content: bytes) -> RemoteMessage:
    return RemoteMessage(message.uid, content, message.size, message.flags, message.received_at)


def _follow_parent(parent: int) -> None:
    """Die with the parent, however it dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before it could be followed
        os._exit(1)
