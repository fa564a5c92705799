"""The examples of how to follow new mail work as they stand there."""

import asyncio
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from events.following import append
from fastapi import FastAPI
from servers.api import key_of
from servers.live import served
from servers.tenants import ANNS, ONE

from postroom.db.beside import beside
from postroom.db.pool import Database
from postroom.events.model import Event

pytestmark = pytest.mark.usefixtures("tenants")

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "follow-new-mail.md").read_text()
ADDED = {"folder": "f" * 36, "flags": []}


def example(language: str) -> str:
    """The first in this language."""
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found[0]


def mails(*names: str) -> list[Event]:
    return [Event("mail.added", {"message": name * 36, **ADDED}) for name in names]


def socket_of(url: str) -> str:
    return url.replace("http", "ws", 1).rstrip("/") + "/v1/events/ws"


async def test_python_follows(app: FastAPI, db: Database) -> None:
    handled: list[str] = []
    changed = asyncio.Event()

    async def handle(event: dict[str, Any]) -> None:
        handled.append(event["data"]["message"][0])
        changed.set()

    names: dict[str, Any] = {}
    exec(example("python"), names)
    key = await key_of(db, ONE)
    async with served(app, None) as live:
        await append(db, ANNS, *mails("a"))
        async with beside(names["follow"](socket_of(str(live.base_url)), key, handle, "start")):
            while handled != ["a", "b"]:
                await changed.wait()
                changed.clear()
                if handled == ["a"]:
                    await append(db, ANNS, *mails("b"))

    assert handled == ["a", "b"]


@pytest.mark.skipif(shutil.which("node") is None, reason="no node")
async def test_javascript_follows(app: FastAPI, db: Database) -> None:
    await append(db, ANNS, *mails("a", "b"))
    async with served(app, None) as live:
        url, key = socket_of(str(live.base_url)), await key_of(db, ONE)
        program = f"""
            {example("javascript")}
            const seen = [];
            follow({json.dumps(url)}, {json.dumps(key)}, said => {{
                seen.push(said.data.message[0]);
                if (seen.length === 2) {{ console.log(seen.join()); process.exit(0); }}
            }}, "start");
        """
        process = await asyncio.create_subprocess_exec(
            "node", "--experimental-websocket", "-e", program, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()

    assert out.decode().strip() == "a,b"
