"""What people and programs see: plain text or one JSON document, and nothing that a mail could forge."""

import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from rich.console import Console

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
UNITS = ("bytes", "KB", "MB", "GB", "TB")


def console(*, stderr: bool = False) -> Console:
    """A console that takes texts as they are: no markup, no guessed colours, lines of any length."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=True)


def say(text: str = "") -> None:
    """A line for people on standard output."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def warn(text: str) -> None:
    """A line for people on standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def document(content: Any) -> None:
    """The one JSON document of a command called with --json."""
    written = orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE, default=str)
    sys.stdout.flush()
    sys.stdout.buffer.write(written)
    sys.stdout.buffer.flush()


def line(text: str | None) -> str:
    """A stranger's text as one line that can neither move the cursor nor change its own direction."""
    return block(" ".join((text or "").split()))


def block(text: str) -> str:
    """A stranger's text that keeps its lines."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def headline(sender: str, subject: str) -> str:
    """A mail in a line: `Ann: Lunch?`."""
    return f"{line(sender)[:40] or '(nobody)'}: {line(subject)[:100] or '(no subject)'}"


def amount(size: float) -> str:
    """12345678 -> `12.3 MB`."""
    unit = 0
    while size >= 999.5 and unit < len(UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.0f} {UNITS[unit]}" if unit == 0 or size >= 99.5 else f"{size:.1f} {UNITS[unit]}"


def duration(seconds: float) -> str:
    """3725 -> `1:02:05`."""
    minutes, second = divmod(max(round(seconds), 0), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """How long it is since then, or until then, in the largest unit that says something."""
    if moment is None:
        return "never"
    distance = (now or datetime.now(UTC)) - moment
    text = span(abs(distance))
    if text == "0 s":
        return "now"
    return f"{text} ago" if distance > timedelta() else f"in {text}"


def span(distance: timedelta) -> str:
    """A time that passed, in the largest unit that says something: `90 s`, `59 min`, `5 h`, `3 d`."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if distance.total_seconds() >= 2 * size:
            return f"{distance.total_seconds() / size:.0f} {unit}"
    return f"{distance.total_seconds():.0f} s"
