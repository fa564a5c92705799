"""GET /v1/mail/…"""

from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import HTMLResponse, Response

from postroom.db.pool import Connection
from postroom.http.answers import Ready
from postroom.http.asked import Moment, Text
from postroom.http.deps import AtDoor, Reader, Tx
from postroom.http.fields import Fields, fields_of, only
from postroom.http.pages import COUNTED, Asked, BadPage
from postroom.http.ranges import Conditional, Stored, answers, sent
from postroom.ids import MessageId, TenantId, ThreadId
from postroom.mail import content, download
from postroom.mail.answers import (
    MANY,
    READ_NOW,
    SAFE_HTML,
    FolderOut,
    Folders,
    MessageDetail,
    MessageOut,
    MessagePage,
    SparseDetail,
    SparsePage,
    ThreadDetail,
    ThreadOut,
    ThreadPage,
    detail_out,
    listed,
    message_out,
)
from postroom.mail.reading import Filters, NoHtml, Order, Row, Sort
from postroom.mail.store import browse, read

router = APIRouter(prefix="/v1/mail", tags=["mail"])

THREAD_MESSAGES = 500
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


async def _filters(
    caller: Reader,
    conn: Tx,
    account: UUID | None = None,
    folder: Annotated[Text | None, Query(description="Its id, path or role.")] = None,
    label: Annotated[Text | None, Query(description="A keyword, or a folder by its path or name.")] = None,
    thread: UUID | None = None,
    read_: Annotated[bool | None, Query(alias="read")] = None,
    starred: bool | None = None,
    sender: Annotated[Text | None, Query(alias="from", description="An address, whole.")] = None,
    after: Annotated[Moment | None, Query(description="Received then or later.")] = None,
    before: Annotated[Moment | None, Query(description="Received earlier than that.")] = None,
    has_attachment: bool | None = None,
) -> Filters:
    within = await read.account(conn, caller.tenant, account) if account else None
    return Filters(
        account=within,
        folders=await read.folders_named(conn, caller.tenant, folder, within) if folder else None,
        label=label,
        thread=(await browse.thread(conn, caller.tenant, thread)).number if thread else None,
        read=read_,
        starred=starred,
        sender=sender,
        after=after,
        before=before,
        has_attachment=has_attachment,
    )


@router.get("/messages", response_model=MessagePage | SparsePage)
async def list_messages(
    caller: Reader,
    conn: Tx,
    door: AtDoor,
    window: Asked,
    filters: Annotated[Filters, Depends(_filters)],
    fields: Annotated[Fields, Depends(fields_of(MessageOut))],
    sort_by: Sort = Sort.DATE,
    order: Annotated[Order | None, Query(description="By default newest first, senders from A.")] = None,
) -> Ready:
    """Messages, by page number or by cursor; both ways can be mixed."""
    order = order or (Order.DESCENDING if sort_by is Sort.DATE else Order.ASCENDING)
    of, tenant = f"mail.messages {sort_by} {order}", caller.tenant
    after = None
    if window.cursor is not None:
        micros, number, sender = door.cursors.open(caller, of, window.cursor)
        after = read.Position(EPOCH + micros * MICROSECOND, MessageId(number), sender)
    found = await read.page(
        conn, tenant, filters, sort_by, order, limit=window.size + 1, offset=window.offset, after=after
    )
    rows = await read.rows(conn, tenant, [position.number for position in found[: window.size]])
    total = None if after else await read.count(conn, tenant, filters, COUNTED + 1)
    following = None
    if len(found) > window.size:
        last = found[window.size - 1]
        following = door.cursors.seal(
            caller, of, [(last.received_at - EPOCH) // MICROSECOND, last.number, last.sender]
        )
    return Ready(
        {
            "items": [only(listed(row), fields) for row in rows],
            "page": window.page,
            "page_size": window.size,
            "has_next": following is not None,
            "has_prev": after is not None or window.offset > 0,
            "next": following,
            "total": None if total is None else min(total, COUNTED),
            "total_is_exact": None if total is None else total <= COUNTED,
        }
    )


@router.get("/messages/{id}", response_model=MessageDetail | SparseDetail)
async def get_message(
    caller: Reader, door: AtDoor, id: UUID, fields: Annotated[Fields, Depends(fields_of(MessageDetail))]
) -> MessageDetail | Ready:
    """A message with its text, its HTML made safe, its attachments and its conversation."""
    tenant, data = caller.tenant, door.data_of(caller)
    async with data.transaction(tenant) as conn:
        row = await read.message(conn, tenant, id)
        stored = await read.content(conn, tenant, row.number)
        members: list[MessageId] = []
        if _asks(fields, {"conversation"}):
            members = await browse.members(conn, tenant, row.thread_number, MANY)
        conversation = await read.rows(conn, tenant, members)
    shown = None
    if _asks(fields, READ_NOW):
        is_html = _asks(fields, SAFE_HTML)
        async with door.readers.one(tenant):
            shown = await content.shown(data, tenant, row.digest, row.size, is_html=is_html)
    answer = detail_out(row, stored, shown, conversation)
    if fields is None:
        return answer
    return Ready(only(answer.model_dump(mode="json", by_alias=True), fields))


def _asks(fields: Fields, some: AbstractSet[str]) -> bool:
    return fields is None or bool(fields & some)


@router.get("/messages/{id}/raw", response_class=Response, responses=answers("message/rfc822"))
async def get_raw_message(caller: Reader, door: AtDoor, id: UUID, asked: Conditional) -> Response:
    """The message byte for byte as the server has it, or a part of it."""
    data = door.data_of(caller)
    async with data.transaction(caller.tenant) as conn:
        digest, size = await read.source(conn, caller.tenant, id)
    named = download.disposition(f"{id}.eml", "message.eml")
    stored = Stored(
        size,
        download.etag(digest),
        "message/rfc822",
        {**download.ISOLATED, "Content-Disposition": named},
        partial(content.read, data, caller.tenant, digest),
    )
    return await sent(stored, asked)


@router.get("/messages/{id}/html", response_class=HTMLResponse)
async def get_message_html(caller: Reader, door: AtDoor, id: UUID) -> HTMLResponse:
    """The HTML of a message, made safe, as a page that may load nothing but the images inside it."""
    data = door.data_of(caller)
    async with data.transaction(caller.tenant) as conn:
        digest, size = await read.source(conn, caller.tenant, id)
    async with door.readers.one(caller.tenant):
        shown = await content.shown(data, caller.tenant, digest, size)
    if shown.html is None:
        raise NoHtml("This message has no HTML.")
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"
    return HTMLResponse(shown.html.html, headers={**download.ISOLATED, "Content-Security-Policy": policy})


@router.get("/messages/{id}/attachments/{number}", response_class=Response, responses=answers("*/*"))
async def get_attachment(
    caller: Reader,
    door: AtDoor,
    id: UUID,
    number: Annotated[int, Path(ge=1, lt=1 << 31)],
    asked: Conditional,
) -> Response:
    """An attachment, decoded, or a part of it. What a browser could run is served as octets."""
    data = door.data_of(caller)
    async with data.transaction(caller.tenant) as conn:
        digest, found = await read.attachment(conn, caller.tenant, id, number)
    named = download.disposition(found.name, f"attachment-{number}")
    stored = Stored(
        found.size,
        download.etag_of(digest, found),
        download.content_type(found.content_type),
        {**download.ISOLATED, "Content-Disposition": named},
        partial(content.decoded, data, caller.tenant, digest, found),
    )
    return await sent(stored, asked)


@router.get("/folders")
async def list_folders(
    caller: Reader,
    conn: Tx,
    account: UUID | None = None,
    counted: Annotated[bool, Query(description="Count the messages of each.")] = False,
) -> Folders:
    """The folders of one account, or of all."""
    within = await read.account(conn, caller.tenant, account) if account else None
    found = await browse.folders(conn, caller.tenant, within, counted=counted)
    return Folders(items=[FolderOut.model_validate(folder) for folder in found])


@router.get("/threads")
async def list_threads(
    caller: Reader, conn: Tx, door: AtDoor, window: Asked, account: UUID | None = None
) -> ThreadPage:
    """Conversations, the one with the newest mail first. By cursor only."""
    if window.offset:
        raise BadPage("Threads are read on with `cursor`, not with `page`.")
    of, tenant, after = "mail.threads", caller.tenant, None
    if window.cursor is not None:
        micros, number = door.cursors.open(caller, of, window.cursor)
        after = browse.Position(EPOCH + micros * MICROSECOND, ThreadId(number))
    within = await read.account(conn, tenant, account) if account else None
    found = await browse.threads(conn, tenant, within, limit=window.size + 1, after=after)
    following = None
    if len(found) > window.size:
        last = found[window.size - 1]
        following = door.cursors.seal(caller, of, [(last.last_at - EPOCH) // MICROSECOND, last.number])
    items = [ThreadOut.model_validate(thread) for thread in found[: window.size]]
    return ThreadPage(items=items, has_next=following is not None, next=following)


@router.get("/threads/{id}")
async def get_thread(caller: Reader, conn: Tx, id: UUID) -> ThreadDetail:
    """A conversation. One that has become part of another answers as that one."""
    found = await browse.thread(conn, caller.tenant, id)
    return ThreadDetail(
        thread=ThreadOut.model_validate(found),
        messages=[message_out(row) for row in await _members(conn, caller.tenant, found.number)],
    )


async def _members(conn: Connection, tenant: TenantId, thread: ThreadId) -> list[Row]:
    members = await browse.members(conn, tenant, thread, THREAD_MESSAGES)
    return await read.rows(conn, tenant, members)
