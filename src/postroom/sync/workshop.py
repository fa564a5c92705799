"""Where mail is read: a thread for a few messages, a process of its own for many.

Reading is half of a first sync's work, and would otherwise compete with the network and the database for one
core. A process costs a third of a second to start, so a few new messages never wait for one.
"""

import asyncio
import ctypes
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context

import structlog

from postroom.ids import TenantId
from postroom.mail.model import Folder
from postroom.providers.model import RemoteItem, RemoteMessage

from .prepare import Prepared, prepare

MANY = 400  # messages to copy, from which the process is worth its start
PR_SET_PDEATHSIG = 1

Batch = Sequence[tuple[RemoteMessage, RemoteItem]]

logger = structlog.get_logger()


class Workshop:
    """Reads batches off the event loop. Shared by all accounts of a process."""

    def __init__(self, processes: ProcessPoolExecutor | None = None) -> None:
        self._processes = processes
        self._started: Future[None] | None = None

    def prepare(
        self, tenant: TenantId, folder: Folder, batch: Batch, *, many: bool
    ) -> asyncio.Future[list[Prepared]]:
        """Begin to read a batch, one of `many` to come or not. What is in files stays in this process."""
        loop = asyncio.get_running_loop()
        if many and all(isinstance(message.content, bytes) for message, _ in batch):
            try:
                if self._processes and self._is_ready(self._processes):
                    return loop.run_in_executor(self._processes, prepare, tenant, folder, batch)
            except BrokenProcessPool:  # somebody killed it; we can do its work
                logger.warning("sync.workshop_lost")
                self._processes = None
        return loop.run_in_executor(None, prepare, tenant, folder, batch)

    def _is_ready(self, processes: ProcessPoolExecutor) -> bool:
        """Whether a process has started; begins to start one when none has: a thread bridges the time."""
        if self._started is None:
            with _deaf():
                self._started = processes.submit(_nothing)
        return self._started.done()


@contextmanager
def workshop(processes: int = 1) -> Iterator[Workshop]:
    """A workshop whose processes start when first needed and end with the block, or with us."""
    pool = ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=_follow_parent, initargs=(os.getpid(),)
    )
    try:
        yield Workshop(pool)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


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
    if os.getppid() != parent:
        os._exit(1)  # it died while we were starting; nobody will tell us
