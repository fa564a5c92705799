"""What happens, live and in order."""

from collections.abc import Sequence
from uuid import UUID

from postroom.client.call import Call, Download, Following, Operation, Part, Stream, given, query
from postroom.client.model.events import (
    Consumer,
    Consumers,
    Event,
    EventPage,
    News,
    Ready,
    SyncEnded,
    SyncStarted,
)


class Events:
    @Operation
    def list_events(
        self,
        *,
        after: str | None = None,
        limit: int | None = None,
        types: Sequence[str] | None = None,
        account: UUID | None = None,
        folder: UUID | None = None,
        wait: float | None = None,
        consumer: str | None = None,
    ) -> Call[EventPage]:
        """What happened behind a cursor, or where a consumer stands; without both from the beginning.

        With `wait`, seconds, the answer comes as soon as there is an event, and else without any.
        """
        asked = query(after=after, limit=limit, types=types, account=account, folder=folder, wait=wait)
        return Call("GET", "/v1/events", EventPage, {**asked, **query(consumer=consumer)})

    @Download
    def export_events(self) -> Part:
        """The whole log with its seals, for admins: lines of JSON that `check.py` checks anywhere."""
        return Part("GET", "/v1/events/export", has_ranges=False)

    @Operation
    def list_consumers(self) -> Call[Consumers]:
        """All of them by name, and how far each is behind."""
        return Call("GET", "/v1/events/consumers", Consumers)

    @Operation
    def get_consumer(self, name: str) -> Call[Consumer]:
        """Where a consumer stands, and how far it is behind."""
        return Call("GET", f"/v1/events/consumers/{name}", Consumer)

    @Operation
    def put_consumer(self, name: str, *, cursor: str, if_cursor: str | None = None) -> Call[Consumer]:
        """Let a consumer stand behind `next` of a page, with `if_cursor` only if it stands at its `after`.

        Raises `Conflict`, `events.consumer_moved`, when another worker has moved it.
        """
        asked = given(cursor=cursor, if_cursor=if_cursor)
        return Call("PUT", f"/v1/events/consumers/{name}", Consumer, body=asked)

    @Operation
    def remove_consumer(self, name: str) -> Call[None]:
        """Forget how far a consumer has come."""
        return Call("DELETE", f"/v1/events/consumers/{name}")

    @Stream
    def follow_events(
        self,
        *,
        types: Sequence[str] | None = None,
        account: UUID | None = None,
        folder: UUID | None = None,
        after: str | None = None,
    ) -> Following[News]:
        """What comes behind a cursor, and then live, for ever. Without `after` from now on.

        `Ready` comes first, and again whenever the connection had to be made anew: no event was missed then,
        but `SyncStarted` and `SyncEnded` may have been.
        """
        return Following(
            "GET",
            "/v1/events/stream",
            query=query(types=types, account=account, folder=folder, after=after),
            kinds={"ready": Ready, "sync_started": SyncStarted, "sync": SyncEnded, "heartbeat": None},
            otherwise=Event,
        )
