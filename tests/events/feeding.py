"""`python -m events.feeding HOW URL KEY FILE SEED`: consumers of the how-to that kill themselves anywhere.

They write what they handle to a database (`once`) or to a file (`again`), and end with the last event.
"""

import os
import random
import re
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from postroom.client import Client
from postroom.client.model import Event, EventPage

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "consume-the-feed.md").read_text()
LAST = "mail.folder_removed"
DIES = 0.02  # at each step
NAME = "tickets"


def examples(client: Callable[..., Any] | None = None) -> dict[str, Any]:
    """The functions of the page; with a `client` it also does with them what it does."""
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        functions, using, rest = code.partition("\n\n\ntickets = ")
        exec(functions, names)
        if client is not None and using:
            exec(using + rest, {**names, "Client": client})
    return names


class Over(Exception):
    """The last event was handled and is stored."""


class Dying:
    """A client that dies before it asks, or once it was answered; a seed of 0 never does."""

    def __init__(self, client: Client, seed: int) -> None:
        self._client, self._seed, self._rng = client, seed, random.Random(seed)
        self.is_over = False

    def step(self) -> None:
        if self._seed and self._rng.random() < DIES:
            os.kill(os.getpid(), signal.SIGKILL)

    def list_events(self, **asked: Any) -> EventPage:
        if self.is_over:
            raise Over
        self.step()
        page = self._client.list_events(**{**asked, "limit": self._rng.randrange(1, 40)})
        self.step()
        return page

    def put_consumer(self, name: str, **asked: Any) -> None:
        self.step()
        self._client.put_consumer(name, **asked)


def once(dying: Dying, path: str) -> None:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE IF NOT EXISTS seen (cursor TEXT NOT NULL)")

    def handle(database: sqlite3.Connection, event: Event) -> None:
        dying.step()
        database.execute("INSERT INTO seen VALUES (?)", [event.cursor])
        dying.step()
        dying.is_over = event.kind == LAST

    examples()["consume"](dying, database, handle)


def again(dying: Dying, path: str) -> None:
    with open(path, "a", buffering=1) as file:

        def handle(event: Event) -> None:
            dying.step()
            file.write(f"{event.cursor}\n")
            dying.is_over = event.kind == LAST

        examples()["work"](dying, NAME, handle)


def main(how: str, url: str, key: str, path: str, seed: str) -> None:
    with Client(url, key) as client:
        dying = Dying(client, int(seed))
        try:
            {"once": once, "again": again}[how](dying, path)
        except Over:
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
