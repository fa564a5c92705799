"""What happens, live and in order."""

from collections.abc import Sequence
from uuid import UUID

from postroom.client.call import Following, Stream, query
from postroom.client.model.events import Event, News, Ready, SyncEnded, SyncStarted


class Events:
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
