"""A ticket desk: every new mail opens a ticket or joins that of its conversation, once, kill it as you like.

    uvicorn --app-dir examples ticket_desk:app       then open http://127.0.0.1:8000/tickets

It shares the PostgreSQL of POSTROOM_DATABASE_URL, or the embedded one of `postroom up`.
"""

from typing import Any

import asyncpg
from fastapi import FastAPI

from postroom import Postroom
from postroom.client import NotFound
from postroom.library import Event

MAKE = """
    CREATE TABLE IF NOT EXISTS ticket (
        number  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        thread  uuid NOT NULL UNIQUE,
        subject text NOT NULL,
        sender  text NOT NULL,
        mails   int NOT NULL DEFAULT 1
    )
"""
JOIN = """
    INSERT INTO ticket (thread, subject, sender) VALUES ($1, $2, $3)
    ON CONFLICT (thread) DO UPDATE SET mails = ticket.mails + 1
"""
NEWEST = "SELECT number, subject, sender, mails FROM ticket ORDER BY number DESC LIMIT 20"

room = Postroom()
app = FastAPI(title="Ticket desk", lifespan=room.lifespan)
app.include_router(room.router, prefix="/mail")


@room.at_start
async def tables(tx: asyncpg.Connection) -> None:
    await tx.execute(MAKE)


@room.on("mail.added")
async def ticket(event: Event, tx: asyncpg.Connection) -> None:
    if event.message is None or "backfill" in event.data:  # it was there before the mailbox was connected
        return
    try:
        mail = await room.client_of(event.tenant).get_message(event.message)
    except NotFound:  # it has been deleted meanwhile
        return
    await tx.execute(JOIN, mail.thread, mail.subject or "(no subject)", mail.sender.address)


@app.get("/tickets")
async def tickets() -> list[dict[str, Any]]:
    return [dict(row) for row in await room.pool.fetch(NEWEST)]
