"""A command's database and its modules: each takes a while to be there, so they come up together.

settings ─┬─▶ keeper ─▶ PostgreSQL     processes of their own
          └─▶ modules                  a thread of this one
"""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module

from postroom.db.beside import beside
from postroom.db.embedded.client import running
from postroom.db.embedded.folder import claim
from postroom.settings import Settings


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
    imported = asyncio.Event()

    async def importing() -> None:
        await load(module)
        imported.set()

    async with beside(importing()), database(settings) as dsn:
        await imported.wait()
        yield dsn


async def load(module: str) -> None:
    """Import it in a thread, so that what goes on here goes on."""
    await asyncio.to_thread(_load, module)


def _load(module: str) -> None:
    gc.disable()  # see `main`
    try:
        import_module(module)
    finally:
        gc.enable()
    gc.freeze()
