"""`make bench N=20000 ARGS=throughput`: how many lists of messages one server process answers in a second.

    postroom    GET /v1/mail/messages of a process as `postroom serve` runs it: the newest 50 of a tenant, by
                its key, under row-level security, with total and cursor
    bare        what one would write by hand: FastAPI, asyncpg and a model; one statement that reads the same
                rows as the tables' owner; no key, no tenant, no total, no cursor
    framework   the same route of the same application, with rows that were read before

Each is asked by 16 connections for ten seconds, by turns. PostgreSQL and whoever asks have the same cores; so
the processor time of a request, by process, is what decides.
"""

import argparse
import asyncio
import os
import random
import secrets
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import uvicorn
import uvloop
from fastapi import FastAPI
from pydantic import BaseModel, BeforeValidator, TypeAdapter

from bench.filled import Filled, cluster, filled
from bench.million import BACKENDS
from bench.report import Table, spread
from bench.streams import processor, serve, server
from postroom import telemetry
from postroom.cli.listening import listening
from postroom.cli.settled import settled
from postroom.people import keys

GOAL = 1000.0  # a second
CONNECTIONS, SECONDS = 16, 10.0
SIDES = ("postroom", "bare", "framework")
ROWS = """
    SELECT m.public_id AS id, a.public_id AS account, t.public_id AS thread, m.subject, m.sender_name,
           m.sender_address, m.recipients, m.sent_at, m.received_at, m.preview, m.seen, m.flagged,
           m.answered, m.draft, m.attachments, m.size, m.message_id, m.list_id,
           (SELECT json_agg(json_build_object('id', f.public_id, 'path', f.path, 'role', f.role,
                                              'flags', p.flags) ORDER BY f.path)
              FROM postroom.mail_placement p JOIN postroom.mail_folder f ON f.id = p.folder_id
             WHERE p.tenant_id = m.tenant_id AND p.message_id = m.id) AS folders
      FROM postroom.mail_message m
      JOIN postroom.accounts_account a ON a.id = m.account_id
      JOIN postroom.mail_thread t ON t.id = m.thread_id
     WHERE m.tenant_id = $1 AND m.unplaced_at IS NULL
     ORDER BY m.received_at DESC, m.id DESC LIMIT 50
"""


def _read(value: object) -> object:
    return TypeAdapter(Any).validate_json(value) if isinstance(value, str) else value


Json = Annotated[Any, BeforeValidator(_read)]


class RowOut(BaseModel):
    id: UUID
    account: UUID
    thread: UUID
    subject: str
    sender_name: str
    sender_address: str
    recipients: Json
    sent_at: datetime | None
    received_at: datetime
    preview: str
    seen: bool
    flagged: bool
    answered: bool
    draft: bool
    attachments: int
    size: int
    message_id: str | None
    list_id: str | None
    folders: Json


async def bare(dsn: str) -> None:
    """The application that one would write by hand, until standard input ends."""
    app = FastAPI()
    pool = await asyncpg.create_pool(dsn, min_size=4, max_size=10)

    async def messages(tenant: int) -> list[dict[str, Any]]:
        return [dict(row) for row in await pool.fetch(ROWS, tenant)]

    before = await messages(await pool.fetchval("SELECT min(tenant_id) FROM postroom.mail_message"))

    async def same() -> list[dict[str, Any]]:
        return before

    app.add_api_route("/bare", messages, response_model=list[RowOut])
    app.add_api_route("/framework", same, response_model=list[RowOut])
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
    with listening("127.0.0.1", 0) as listener, settled():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve(sockets=[listener]))
            print(listener.getsockname()[1], flush=True)
            await asyncio.to_thread(sys.stdin.read)
            server.should_exit = True
    await pool.close()


def run(count: int, rounds: int) -> Table:
    return uvloop.run(_run(count, rounds))


async def _run(count: int, rounds: int) -> Table:
    table = Table(
        f"Lists of 50 messages, of {count:,} messages, {CONNECTIONS} connections, {rounds} rounds by turns",
        ["", "a second", "bytes each", "us of processor: the server", "PostgreSQL", "who asks"],
    )
    found: dict[str, list[tuple[float, ...]]] = {side: [] for side in SIDES}
    async with cluster() as dsn, filled(dsn, f"messages_{count}", count) as data:
        for _ in range(rounds):
            for side in SIDES:
                found[side].append(await _side(side, data))
    for side, times in found.items():
        rates, *rest = zip(*times, strict=True)
        table.add(side, spread(rates, 0), *(f"{sorted(part)[len(part) // 2]:,.0f}" for part in rest))
    ours, theirs = (sorted(one[0] for one in found[side])[rounds // 2] for side in SIDES[:2])
    verdict = "reached" if ours >= GOAL else "missed"
    table.note(f"{ours:,.0f} a second (goal {GOAL:,.0f}, {verdict}), {ours / theirs:.2f} of the bare one.")
    return table


async def _side(side: str, data: Filled) -> tuple[float, ...]:
    """Answers a second, their bytes, and microseconds of processor time of server, PostgreSQL, and here."""
    requests = []
    for mailbox in data.mailboxes:
        if side == "postroom":
            _, key = await keys.create(data.db, mailbox.tenant, secrets.token_hex(4))
            requests.append(_request("/v1/mail/messages", key))
        else:
            requests.append(_request(f"/{side}?tenant={mailbox.tenant}", ""))
    flag = "--serve" if side == "postroom" else "--bare"
    async with server(data.db.dsn, flag, "bench.throughput") as (process, port):
        await _asked(port, requests, SECONDS / 10)
        before = processor(process), await _postgres(data), _here()
        count, size = await _asked(port, requests, SECONDS)
        after = processor(process), await _postgres(data), _here()
    used = [1e6 * (now - then) / count for now, then in zip(after, before, strict=True)]
    return (count / SECONDS, size / count, *used)


def _request(path: str, key: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n\r\n".encode("ascii")


async def _asked(port: int, requests: Sequence[bytes], seconds: float) -> tuple[int, int]:
    """How many answers came in this time, and how many bytes."""
    loop = asyncio.get_running_loop()
    until, answers, size = loop.time() + seconds, 0, 0

    async def client(number: int) -> None:
        nonlocal answers, size
        rng = random.Random(number)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        try:
            while loop.time() < until:
                writer.write(rng.choice(requests))
                head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").lower()
                assert head.startswith("http/1.1 200"), head
                body = int(head.partition("content-length: ")[2].partition("\r\n")[0])
                await reader.readexactly(body)
                answers, size = answers + 1, size + body
        finally:
            writer.close()

    async with asyncio.TaskGroup() as clients:
        for number in range(CONNECTIONS):
            clients.create_task(client(number))
    return answers, size


async def _postgres(data: Filled) -> float:
    """Seconds of processor time of PostgreSQL's processes for this database."""
    return sum(processor(row[0]) for row in await data.owner.fetch(BACKENDS))


def _here() -> float:
    return processor(os.getpid())


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--serve", metavar="DSN")
    options.add_argument("--bare", metavar="DSN")
    chosen = options.parse_args()
    with Path(os.devnull).open("w") as log:  # a pipe that nobody reads would stop the server
        telemetry.set_up(stream=log, for_people=False)
        uvloop.run(serve(chosen.serve) if chosen.serve else bare(chosen.bare))


if __name__ == "__main__":
    main()
