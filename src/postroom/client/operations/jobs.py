"""Long work: look at it, follow it, cancel it, want it again."""

from uuid import UUID

from postroom.client.call import Call, Following, Listing, Operation, Paged, Stream, query
from postroom.client.model.jobs import (
    BatchComplete,
    BatchProgress,
    Job,
    JobEvent,
    JobPage,
    JobStatus,
    Overview,
    State,
)


class Jobs:
    @Listing
    def list_jobs(
        self,
        *,
        state: State | None = None,
        kind: str | None = None,
        account: UUID | None = None,
        page_size: int | None = None,
        cursor: str | None = None,
    ) -> Paged[JobPage, Job]:
        """Jobs, the latest first; with `state="failed"` those that nobody tries any more."""
        asked = query(state=state, kind=kind, account=account, page_size=page_size, cursor=cursor)
        return Paged("GET", "/v1/jobs", JobPage, asked)

    @Operation
    def get_jobs_overview(self) -> Call[Overview]:
        """How the queue does: what waits, what runs where, what failed for which reason, what recurs."""
        return Call("GET", "/v1/jobs/overview", Overview)

    @Operation
    def get_job(self, id: UUID) -> Call[Job]:
        """A job as it stands."""
        return Call("GET", f"/v1/jobs/{id}", Job)

    @Operation
    def cancel_job(self, id: UUID) -> Call[Job]:
        """One that waits is cancelled; one that runs is asked to stop, which takes a moment."""
        return Call("POST", f"/v1/jobs/{id}/cancel", Job)

    @Operation
    def requeue_job(self, id: UUID) -> Call[Job]:
        """Let one that failed or was cancelled be done again, with all its tries."""
        return Call("POST", f"/v1/jobs/{id}/requeue", Job)

    @Stream
    def follow_job(self, id: UUID, *, after: int | None = None) -> Following[JobEvent | JobStatus]:
        """What a job says from behind an event of it, and then live, until it ends."""
        kinds = {"job_event": JobEvent, "job_status": JobStatus}
        return Following("GET", f"/v1/jobs/{id}/events", query=query(after=after), kinds=kinds)

    @Stream
    def follow_job_batches(
        self, id: UUID, *, after: int | None = None
    ) -> Following[BatchProgress | BatchComplete]:
        """How far a job is, until it ends: `format=batch` of the document."""
        kinds = {"batch_progress": BatchProgress, "batch_complete": BatchComplete}
        asked = query(format="batch", after=after)
        return Following("GET", f"/v1/jobs/{id}/events", query=asked, kinds=kinds)
