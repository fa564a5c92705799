"""What postroom says about itself: logs as an event name with fields, and the names of its metrics.

    log = telemetry.logger()
    log.info("sync.finished", account=account.public_id, added=12)

Log lines go to standard error, as JSON unless a person is looking at a terminal. Whatever a stranger may have
written (a server's answer, a header) has its control characters escaped, so that nobody writes lines or
colours into our log. Secrets are masked by name and by shape; subjects, bodies and addresses by name from
level info on: they belong to debug. Masking is the second wall: do not log them in the first place.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog
from prometheus_client import Counter, Gauge, Histogram
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

MASK = "[masked]"
SECRET = re.compile(
    r"(^|_)(pass(word|wd)?|secret|token|authorization|auth|cookie|credentials?|(api|private)_?key)$",
    re.I,
)
OURS = re.compile(
    r"p[rsl]_[0-9A-Za-z]{43}|whsec_[\w+/=]+|eyJ[\w-]{5,}\.[\w-]+\.[\w-]+|(?<=://)[^/@\s]+:[^/@\s]+(?=@)"
)
"""API keys, sessions and links; webhooks' secrets; tokens of issuers; user and password in URLs, anywhere."""
QUOTED = re.compile(r"(query argument \$\d+: ).*(?= \()|(?<=\nDETAIL:  ).*")
"""Values that PostgreSQL and its driver quote in their errors: of a mail, or whatever was to be stored."""
PRIVATE = frozenset(
    {"subject", "body", "text", "html", "preview", "address", "sender", "recipients", "query", "file_name"}
)
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
DEEPEST = 6

HTTP_SECONDS = Histogram(
    "postroom_http_request_seconds",
    "Time from a request's arrival to the end of its answer.",
    ["method", "route", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 10),
)
HTTP_UNEXPECTED = Counter(
    "postroom_http_unexpected_errors", "Requests that ended in an error nobody foresaw."
)
HTTP_STREAMS = Gauge("postroom_http_streams", "Answers that go on, now open in this process.")
JOBS = Gauge(
    "postroom_jobs",
    "Jobs: ready to run, for later, behind another of their key, running, failed for good.",
    ["state"],
)
JOBS_OLDEST_READY = Gauge(
    "postroom_jobs_oldest_ready_seconds", "For how long the oldest job that could run has waited."
)
JOBS_RUNNING = Gauge("postroom_jobs_running", "Jobs that run, by the process that runs them.", ["worker"])
JOBS_FAILED = Gauge(
    "postroom_jobs_failed", "Jobs that failed for good and are still there, by code.", ["code"]
)
CONNECTIONS_OPEN = Gauge("postroom_connections_open", "Connections to mail servers of this process.")
CONNECTIONS_USED = Gauge(
    "postroom_connections_in_use", "Those of them that are lent, or being opened; the others are kept."
)
CONNECTION_WAITS = Histogram(
    "postroom_connections_wait_seconds",
    "Time until there could be a connection to a mail server, or until whoever waited gave up.",
    ["purpose"],
    buckets=(0.005, 0.025, 0.1, 0.5, 1, 2, 5, 15, 30),
)
RECONNECTS = Counter(
    "postroom_connections_reconnects", "Kept connections that had to be opened anew, by reason.", ["reason"]
)
CONNECTIONS_REFUSED = Counter(
    "postroom_connections_refused",
    "Connections that were not to be had: there were as many as may be of a host, or the server refused one "
    "more of an account.",
    ["limit"],
)
JOBS_ENDED = Gauge("postroom_jobs_ended_last_minute", "Jobs that ended in the last minute.", ["state"])

ALERTS_OPEN = Gauge(
    "postroom_alerts_open", "What somebody has to look at and is not over, by kind.", ["kind"]
)
ALERTS_WAITING = Gauge("postroom_alerts_waiting", "Messages to the operator that nobody has taken yet.")

SYNC_WATCHED = Gauge(
    "postroom_sync_watched", "Accounts whose servers tell this process of changes.", ["means"]
)
SYNC_LAPSES = Counter("postroom_sync_lapses", "Sessions that listened and ended by themselves, or died.")

WEBHOOKS_ATTEMPTS = Counter(
    "postroom_webhooks_attempts", "Events posted to receivers, by what came of it.", ["outcome"]
)
WEBHOOKS_FAILING = Gauge(
    "postroom_webhooks_failing",
    "Streams whose next event a receiver did not take, and webhooks that cannot be delivered; tried again.",
)


def logger() -> FilteringBoundLogger:
    """A logger; the first word of each event is its room."""
    found: FilteringBoundLogger = structlog.get_logger()
    return found


def set_up(
    *, level: int = logging.INFO, stream: TextIO | None = None, for_people: bool | None = None
) -> None:
    """Direct our log and the libraries' to `stream`; `for_people` None asks whether it is a terminal."""
    out = stream or sys.stderr
    pretty = out.isatty() if for_people is None else for_people
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        mask,
        escape,
    ]
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=out.isatty()) if pretty else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)


def mask(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Hide what must not be read in a log."""
    private = method not in {"debug", "notset"}
    return {key: _masked(key, value, private, DEEPEST) for key, value in event.items()}


def _masked(key: str, value: Any, private: bool, depth: int) -> Any:
    if value is not None and (SECRET.search(key) or (private and key in PRIVATE)):
        return MASK
    if isinstance(value, str):
        return _hidden(value)
    if depth == 0 and isinstance(value, Mapping | list | tuple | set | frozenset):
        return MASK
    if isinstance(value, Mapping):
        return {str(inner): _masked(str(inner), value[inner], private, depth - 1) for inner in value}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(key, item, private, depth - 1) for item in value]
    return value


def _hidden(text: str) -> str:
    """Without what is masked wherever it stands."""
    return QUOTED.sub(rf"\1{MASK}", OURS.sub(MASK, text))


def escape(_logger: WrappedLogger, _method: str, event: MutableMapping[str, Any]) -> EventDict:
    """Make control and direction characters visible; a traceback keeps its line ends."""
    return {
        _escaped(key): _escaped(value, keep="\n" if key == "exception" else "")
        for key, value in event.items()
    }


def _escaped(value: Any, keep: str = "") -> Any:
    if isinstance(value, str):
        return CONTROL.sub(lambda m: m[0] if m[0] in keep else m[0].encode("unicode_escape").decode(), value)
    if isinstance(value, dict):
        return {_escaped(key): _escaped(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return _escaped(_hidden(str(value)))
