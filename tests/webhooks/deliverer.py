"""Processes that deliver, to be killed: each line on stdin is the URL of a database, and forks one.

Imports are done once, before the first of them. What is said of each is its number.
"""

import asyncio
import os
import signal
import sys

import structlog
from webhooks.receiving import running

from postroom.db.pool import open_pool
from postroom.vault.seal import Key, Vault

MATERIAL = b"a secret of this installation"


async def deliver(dsn: str) -> None:
    async with open_pool(dsn) as db, running(db, Vault([Key.derived(MATERIAL)])):
        await asyncio.Event().wait()


def main() -> None:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody has to wait for them
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            asyncio.run(deliver(line.strip()))
            os._exit(0)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
