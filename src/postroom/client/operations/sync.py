"""How the copies are doing, and what could not be copied."""

from uuid import UUID

from postroom.client.call import Call, Download, Listing, Operation, Paged, Part, query
from postroom.client.model.jobs import Job
from postroom.client.model.sync import Budget, Parked, ParkedPage, SyncStatus


class Sync:
    @Listing
    def list_parked(
        self, *, account: UUID | None = None, page_size: int | None = None, cursor: str | None = None
    ) -> Paged[ParkedPage, Parked]:
        """What waits so that the rest goes on: failing accounts first, then folders, then messages."""
        asked = query(account=account, page_size=page_size, cursor=cursor)
        return Paged("GET", "/v1/sync/parked", ParkedPage, asked)

    @Operation
    def get_parked(self, id: UUID) -> Call[Parked]:
        """Why something is parked, and since when."""
        return Call("GET", f"/v1/sync/parked/{id}", Parked)

    @Download
    def get_raw_parked(self, id: UUID) -> Part:
        """A parked message byte for byte, where it was handed out."""
        return Part("GET", f"/v1/sync/parked/{id}/raw", has_ranges=False)

    @Operation
    def retry_parked(self, id: UUID) -> Call[Parked]:
        """Let it be tried again at once."""
        return Call("POST", f"/v1/sync/parked/{id}/retry", Parked)

    @Operation
    def sync_account(self, id: UUID, *, full: bool | None = None) -> Call[Job]:
        """Bring an account up to date as soon as may be, as a job; `full` compares every message and flag."""
        return Call("POST", f"/v1/accounts/{id}/sync", Job, query(full=full))

    @Operation
    def get_sync_status(self, id: UUID) -> Call[SyncStatus]:
        """How the syncs of an account go."""
        return Call("GET", f"/v1/accounts/{id}/sync-status", SyncStatus)

    @Operation
    def get_budget(self, id: UUID) -> Call[Budget]:
        """What an account has downloaded today and how much it may, and what its server says to that."""
        return Call("GET", f"/v1/accounts/{id}/budget", Budget)
