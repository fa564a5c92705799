"""Fixtures for every test: real servers, started when first asked for."""

import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

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

pytest_plugins = [plugin for plugin in SERVERS if find_spec(plugin) is not None]
