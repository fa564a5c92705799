"""The examples of how to use the API, and that of the tutorial, work as they stand there."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from events.following import append
from fastapi import FastAPI
from jobs.speaking import LEASE, end
from servers.api import key_of
from servers.copies import Copy
from servers.live import served
from servers.tenants import ANNS, ONE

from postroom.db.pool import Database
from postroom.events.model import Event
from postroom.jobs.store import queue

from .test_client import mail

DOCS = Path(__file__).parents[2] / "docs"
GUIDE, TUTORIAL = DOCS / "howto" / "use-the-api.md", DOCS / "tutorial" / "first-steps.md"


FOLLOWING = "for said in "


def examples(page: Path, url: str, key: str) -> str:
    """All of a page, as one program."""
    found: list[str] = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    return "\n".join(found).replace("http://127.0.0.1:8025", url.rstrip("/")).replace("pr_...", key)


async def test_the_examples_of_the_guide_run(
    app: FastAPI,
    db: Database,
    tenants: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    del tenants
    monkeypatch.chdir(tmp_path)
    placed = await Copy(db, ONE, ANNS).deliver(mail(1), mail(2))
    place = {"message": str(placed[0].public_id), "folder": str(placed[0].public_id), "flags": []}
    await append(db, ANNS, Event("mail.added", place))
    names: dict[str, Any] = {}
    async with served(app, None) as live:
        program = examples(GUIDE, str(live.base_url), await key_of(db, ONE))
        begun, follows, rest = program.partition(FOLLOWING)
        await asyncio.to_thread(exec, begun, names)
        async with db.unbound() as conn:
            (job,) = await queue.claim(conn, "machine 1 1", ["sync.account"], 1, LEASE, ONE - 1)
        await end(db, job)
        await asyncio.to_thread(exec, follows + rest, names)

    told = capsys.readouterr().out
    assert (tmp_path / "message.eml").read_bytes() == mail(2)
    for line in (
        "one\n",
        "accounts.already_connected",
        "mail.not_found",
        "grüße.pdf",
        "completed 0",
        "['Invoice 2'",
    ):
        assert line in told, told


async def test_the_program_of_the_tutorial_runs(
    app: FastAPI,
    db: Database,
    tenants: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    del tenants
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEY", await key_of(db, ONE))
    await Copy(db, ONE, ANNS).deliver(mail(1))
    async with served(app, None) as live:
        await asyncio.to_thread(exec, examples(TUTORIAL, str(live.base_url), ""), {})

    assert "zoe@post.example Invoice 1" in capsys.readouterr().out
    assert (tmp_path / "grüße.pdf").read_bytes().startswith(b"%PDF")
