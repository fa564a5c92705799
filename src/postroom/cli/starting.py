"""A command's database and its modules: each takes a while to be there, so they come up together.

settings ─┬─▶ keeper ─▶ PostgreSQL ─┬─▶ what is opened there ─┬─▶ answers
          └─▶ modules that open it ─┴─▶ the others ───────────┘
              in a thread
"""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from threading import Lock

from postroom.db.beside import beside
from postroom.db.embedded.client import running
from postroom.db.embedded.folder import claim
from postroom.settings import Settings

TURN = Lock()  # two threads could see each other's modules half made
SLICE = 0.0005  # seconds that a thread may keep others from Python; ten times as many by default


@asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[str]:
    """The URL of the database of these settings; the embedded one runs for as long as the block."""
    claim(settings.data)
    if settings.database_url is not None:
        yield settings.database_url
        return
    async with running(settings.data) as dsn:
        yield dsn


@asynccontextmanager
async def starting(settings: Settings, module: str) -> AsyncIterator[str]:
    """The same; the module has been imported, too."""
    async with loading(module) as loaded, database(settings) as dsn:
        await loaded.wait()
        yield dsn


@asynccontextmanager
async def loading(*modules: str) -> AsyncIterator[asyncio.Event]:
    """Import them beside the block. The event says that this is done."""
    loaded = asyncio.Event()

    async def work() -> None:
        for module in modules:
            await load(module)
        loaded.set()

    async with beside(work()):
        yield loaded


async def load(module: str) -> None:
    """Import it in a thread: what goes on here goes on, and answers hardly wait for it."""
    await asyncio.to_thread(_load, module)


def _load(module: str) -> None:
    with TURN:
        usual = sys.getswitchinterval()
        sys.setswitchinterval(SLICE)
        gc.disable()  # as in `main`
        try:
            import_module(module)
        finally:
            gc.enable()
            sys.setswitchinterval(usual)
        gc.freeze()
