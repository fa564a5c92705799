"""Messages, folders, conversations, and searching."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict, Unpack
from uuid import UUID

from postroom.client.call import Call, Download, Listing, Operation, Paged, Part, query
from postroom.client.model.mail import (
    Folders,
    Hit,
    Message,
    MessageDetail,
    MessagePage,
    Order,
    SearchPage,
    Sort,
    SparseDetail,
    SparseMessage,
    SparsePage,
    Thread,
    ThreadDetail,
    ThreadPage,
)


class Narrowed(TypedDict, total=False):
    """Which messages of all."""

    account: UUID | None
    folder: str | None  # its id, path or role
    label: str | None  # a keyword, or a folder by its path or name
    thread: UUID | None
    read: bool | None
    starred: bool | None
    sender: str | None  # a whole address; `from` in the document
    after: datetime | None  # received then or later
    before: datetime | None  # received earlier than that
    has_attachment: bool | None
    sort_by: Sort | None
    order: Order | None
    page: int | None  # not together with `cursor`
    page_size: int | None
    cursor: str | None


class Mail:
    @Listing
    def list_messages(self, **narrowed: Unpack[Narrowed]) -> Paged[MessagePage, Message]:
        """Messages, the newest first."""
        return Paged("GET", "/v1/mail/messages", MessagePage, query(**narrowed))

    @Listing
    def list_sparse_messages(
        self, *, fields: Sequence[str], **narrowed: Unpack[Narrowed]
    ) -> Paged[SparsePage, SparseMessage]:
        """The same with only these fields, by the names of the document."""
        return Paged("GET", "/v1/mail/messages", SparsePage, query(fields=fields, **narrowed))

    @Operation
    def get_message(self, id: UUID) -> Call[MessageDetail]:
        """A message with its text, its HTML made safe, its attachments and its conversation."""
        return Call("GET", f"/v1/mail/messages/{id}", MessageDetail)

    @Operation
    def get_sparse_message(self, id: UUID, *, fields: Sequence[str]) -> Call[SparseDetail]:
        """The same with only these fields, by the names of the document."""
        return Call("GET", f"/v1/mail/messages/{id}", SparseDetail, query(fields=fields))

    @Download
    def get_raw_message(self, id: UUID, *, first: int = 0, past: int | None = None) -> Part:
        """The message byte for byte as the server has it, or its bytes from `first` up to `past`."""
        return Part("GET", f"/v1/mail/messages/{id}/raw", first=first, past=past)

    @Operation
    def get_message_html(self, id: UUID) -> Call[str]:
        """The HTML of a message, made safe, as a page of its own."""
        return Call("GET", f"/v1/mail/messages/{id}/html", str)

    @Download
    def get_attachment(self, id: UUID, number: int, *, first: int = 0, past: int | None = None) -> Part:
        """An attachment, decoded, or its bytes from `first` up to `past`."""
        return Part("GET", f"/v1/mail/messages/{id}/attachments/{number}", first=first, past=past)

    @Operation
    def list_folders(self, *, account: UUID | None = None, counted: bool | None = None) -> Call[Folders]:
        """The folders of one account, or of all."""
        return Call("GET", "/v1/mail/folders", Folders, query(account=account, counted=counted))

    @Listing
    def list_threads(
        self,
        *,
        account: UUID | None = None,
        page: int | None = None,
        page_size: int | None = None,
        cursor: str | None = None,
    ) -> Paged[ThreadPage, Thread]:
        """Conversations, the one with the newest mail first. `page` can only be 1."""
        asked = query(account=account, page=page, page_size=page_size, cursor=cursor)
        return Paged("GET", "/v1/mail/threads", ThreadPage, asked)

    @Operation
    def get_thread(self, id: UUID) -> Call[ThreadDetail]:
        """A conversation. One that has become part of another answers as that one."""
        return Call("GET", f"/v1/mail/threads/{id}", ThreadDetail)

    @Listing
    def search(
        self,
        q: str,
        *,
        account: UUID | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        facets: Sequence[str] | None = None,
    ) -> Paged[SearchPage, Hit]:
        """Mail that answers the query: among the newest matches the best first, then older ones likewise."""
        asked = query(q=q, account=account, limit=limit, cursor=cursor, facets=facets)
        return Paged("GET", "/v1/search", SearchPage, asked)
