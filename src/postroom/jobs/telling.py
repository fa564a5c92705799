"""A job's news as server-sent events, in the two formats that a caller may ask for."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any
from uuid import UUID

from postroom.errors import Invalid
from postroom.http.sse import frame

from .answers import event_out, job_out
from .follow import Follower, News
from .model import OVER, Job

END = ".end"
LARGEST = (1 << 63) - 1


class BadEventId(Invalid):
    code = "jobs.bad_event_id"


class Format(StrEnum):
    EVENTS = "events"
    BATCH = "batch"


def place(last_event_id: str) -> tuple[int, bool]:
    """The event that a client saw last, and whether it saw the end too. Raises `BadEventId`.

    The end has an id of its own, that of the last event with `.end`: a browser that comes again after it is
    told to stay away, and would otherwise ask for ever.
    """
    number = last_event_id.removesuffix(END)
    if not (number.isascii() and number.isdecimal() and len(number) < 20 and int(number) <= LARGEST):
        raise BadEventId("Last-Event-ID is not the id of an event of a job; leave it out to begin anew.")
    return int(number), number != last_event_id


class Frames:
    """Tells what a follower hears. `after` is the event behind which it began."""

    def __init__(self, follower: Follower, account: UUID | None, form: Format, after: int) -> None:
        self._follower, self._account, self._form = follower, account, form
        self._last = after

    async def next(self) -> Sequence[bytes] | None:
        news = await self._follower.next()
        if news is None:
            return None
        if news.events:
            self._last = news.events[-1].id
        key = self._form, self._last
        if key not in news.written:
            news.written[key] = b"".join(
                self._batch(news) if self._form is Format.BATCH else self._events(news)
            )
        return [news.written[key]] if news.written[key] else []

    def close(self) -> None:
        self._follower.close()

    def _end_id(self, news: News) -> str | None:
        return f"{self._last}{END}" if news.is_last else None

    def _events(self, news: News) -> list[bytes]:
        frames = [frame("job_event", event_out(event).model_dump(), str(event.id)) for event in news.events]
        if news.job is not None:
            status = job_out(news.job, self._account).model_dump()
            if news.is_gone:
                status["is_gone"] = True
            frames.append(frame("job_status", status, self._end_id(news)))
        return frames

    def _batch(self, news: News) -> list[bytes]:
        if news.job is None:
            return []
        if news.is_last:
            return [frame("batch_complete", _complete(news.job), self._end_id(news))]
        return [frame("batch_progress", _progress(news.job))]


def _progress(job: Job) -> dict[str, Any]:
    now = job.progress
    return {
        "tool": job.kind,
        "processed": now.processed,
        "total_estimate": now.total_estimate,
        "items_found": now.items_found,
        "has_more": job.state not in OVER,
    }


def _complete(job: Job) -> dict[str, Any]:
    items = (job.result or {}).get("items")
    told: dict[str, Any] = {
        "tool": job.kind,
        "total_items": job.progress.items_found,
        "processed": job.progress.processed,
        "items": items if isinstance(items, list) else [],
    }
    if job.error is not None:
        told["error"] = {"code": job.error.code, "message": job.error.message}
    return told
