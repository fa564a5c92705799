"""Where mail is read: a thread for a few messages, a process of its own for many.

Reading is half of a first sync's work, and would otherwise compete with the network and the database for one
core. A process costs a third of a second to start, so a few new messages never wait for one.
"""

import asyncio
import ctypes
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import structlog

from postroom.blobs.pack import Packed
from postroom.ids import TenantId
from postroom.mail.model import Folder

from .prepare import Batch, Prepared, pack_all, prepare, read, together

MANY = 400  # messages to copy, from which the process is worth its start
PR_SET_PDEATHSIG = 1

logger = structlog.get_logger()

Pools = Callable[[], ProcessPoolExecutor]


@dataclass(frozen=True, slots=True)
class Work:
    """A batch on its way. Where another process reads it, a thread of ours packs its content meanwhile."""

    reading: asyncio.Future[list[Prepared]]
    packing: asyncio.Future[list[Packed]] | None = None  # None: the reading packs as well

    async def done(self) -> list[Prepared]:
        """Raises `BrokenProcessPool` when the process died; then `prepare_singly` goes on."""
        read = await self.reading
        return read if self.packing is None else together(read, await self.packing)


class Workshop:
    """Reads batches off the event loop. Shared by all accounts of a process."""

    def __init__(self, pools: Pools | None = None) -> None:
        self._pools = pools
        self._processes: ProcessPoolExecutor | None = None
        self._started: Future[None] | None = None

    def prepare(self, tenant: TenantId, folder: Folder, batch: Batch, *, many: bool) -> Work:
        """Begin to read a batch, one of `many` to come or not. What is in files stays in this process."""
        loop = asyncio.get_running_loop()
        if many and all(isinstance(message.content, bytes) for message, _ in batch):
            try:
                if processes := self._ready():
                    reading = loop.run_in_executor(processes, read, tenant, folder, batch)
                    return Work(reading, loop.run_in_executor(None, pack_all, batch))
            except BrokenProcessPool:
                self._lost()
        return Work(loop.run_in_executor(None, prepare, tenant, folder, batch))

    async def prepare_singly(
        self, tenant: TenantId, folder: Folder, batch: Batch
    ) -> tuple[list[Prepared], list[int]]:
        """Read a batch whose process has died, and give the uids of those whose reading kills another.

        Somebody may have killed it, or the kernel for want of memory, or one message by a fault of a parser.
        To find that one, each is read in a process that nobody else uses.
        """
        assert self._pools is not None
        loop = asyncio.get_running_loop()
        alone, prepared, fatal = self._pools(), list[Prepared](), list[int]()
        try:
            for pair in batch:
                try:
                    with _deaf():
                        reading = loop.run_in_executor(alone, prepare, tenant, folder, [pair])
                    prepared += await reading
                except BrokenProcessPool:
                    fatal.append(pair[0].uid)
                    alone = self._pools()
        finally:
            alone.shutdown(wait=False, cancel_futures=True)
        return prepared, fatal

    def close(self) -> None:
        if self._processes is not None:
            self._processes.shutdown(wait=True, cancel_futures=True)

    def _ready(self) -> ProcessPoolExecutor | None:
        """A process that has started; begins to start one when there is none: a thread bridges the time."""
        if self._processes is None or self._started is None:
            if self._pools is None:
                return None
            self._processes = self._pools()
            with _deaf():
                self._started = self._processes.submit(_nothing)
        return self._processes if self._started.done() else None

    def _lost(self) -> None:
        """The next batch starts another."""
        logger.warning("sync.workshop_lost")
        self._processes = None


@contextmanager
def workshop(processes: int = 1) -> Iterator[Workshop]:
    """A workshop whose processes start when first needed and end with the block, or with us."""
    context, us = get_context("spawn"), (os.getpid(),)
    shop = Workshop(partial(ProcessPoolExecutor, processes, context, _follow_parent, us))
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


def _nothing() -> None:
    """A process that has done it has imported all that reading takes."""


def _follow_parent(parent: int) -> None:
    """Die with the parent, however it dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before it could be followed
        os._exit(1)
