"""Fixtures for every test: real servers, started when first asked for."""

import ctypes
import gc
import os
import shutil
import tempfile
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

SERVERS = (
    "servers.postgres",
    "servers.tenants",
    "servers.dovecot",
    "servers.bearing",
    "servers.emulate",
    "servers.api",
    "servers.copies",
    "servers.redis",
)

MEMORY = Path("/dev/shm")
ROOM = 4 << 30  # bytes

# A database for each test makes and deletes a thousand files: on a disk that takes half of all the time.
if MEMORY.is_dir() and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC and shutil.disk_usage(MEMORY).free > ROOM:
    os.environ.setdefault("TMPDIR", str(MEMORY))
    tempfile.tempdir = None  # look again

# How long an example takes is the machine's affair.
settings.register_profile("patient", settings(), deadline=None)
settings.load_profile("patient")

pytest_plugins = [plugin for plugin in SERVERS if find_spec(plugin) is not None]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Nothing of what is imported becomes garbage, nor need it be looked through with each test's."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first in each worker's share: else one has it at the end, alone."""
    kinds: tuple[list[pytest.Item], list[pytest.Item]] = ([], [])
    for item in items:
        kinds[item.get_closest_marker("slow") is None].append(item)
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    items[:] = [
        item
        for n in range(workers)
        for kind in kinds
        for item in kind[len(kind) * n // workers : len(kind) * (n + 1) // workers]
    ]


class Memory:
    """Of this process. The C library keeps what threads have freed for other threads of theirs."""

    STATM = Path("/proc/self/statm")
    GROWN = 32 << 20  # bytes

    def __init__(self) -> None:
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if self.STATM.exists() else None
        self._least = self._resident()

    def _resident(self) -> int:
        """Bytes."""
        if self._trim is None:
            return 0
        return int(self.STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def give_back(self) -> None:
        """To the machine, once there may be much of it."""
        if self._trim is not None and self._resident() > self._least + self.GROWN:
            self._trim(0)
            self._least = self._resident()


memory = Memory()


def pytest_runtest_logfinish() -> None:
    memory.give_back()
