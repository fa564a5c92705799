import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
import structlog

from postroom import telemetry

KEY = "pr_" + "a1B2" * 10 + "xyz"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ1c2VyX2FubiJ9.c2lnbmF0dXJlLV8"


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    telemetry.set_up(level=logging.DEBUG, stream=stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_is_an_event_with_fields(out: io.StringIO) -> None:
    telemetry.logger().info("sync.finished", account=7, added=12)

    (line,) = lines(out)
    assert (line["event"], line["account"], line["added"], line["level"]) == ("sync.finished", 7, 12, "info")
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize("name", ["password", "secret", "access_token", "Authorization", "api_key", "cookie"])
def test_a_secret_is_masked_by_its_name_at_any_depth(out: io.StringIO, name: str) -> None:
    telemetry.logger().debug("x.y", **{name: "canary"}, deep=[{"er": {name: "canary"}}])

    assert "canary" not in out.getvalue()
    assert out.getvalue().count(telemetry.MASK) == 2


def test_a_key_or_the_password_of_a_url_is_masked_wherever_it_stands(out: io.StringIO) -> None:
    telemetry.logger().error("x.y", why=f"header was Bearer {KEY}", url="postgresql://me:canary@host/db")
    telemetry.logger().error("x.y", why=ValueError(KEY))
    for shown in (f"ps_{KEY[3:]}", f"/login?link=pl_{KEY[3:]}", f"Bearer {TOKEN}"):
        telemetry.logger().error("x.y", why=shown)

    assert KEY[3:] not in out.getvalue()
    assert TOKEN not in out.getvalue()
    assert "canary" not in out.getvalue()
    assert "@host/db" in out.getvalue()


def test_what_postgresql_and_its_driver_quote_is_masked(out: io.StringIO) -> None:
    theirs = asyncpg.NotNullViolationError.new({"M": "no", "C": "23502", "D": "Failing row has canary."})
    drivers = asyncpg.DataError("invalid input for query argument $2: ['canary (or'] (expected str)")
    for error in (theirs, drivers):
        telemetry.logger().error("x.y", why=error, exc_info=error)
        telemetry.logger().error("x.y", why=str(error))

    assert "canary" not in out.getvalue()
    assert "query argument $2: " in out.getvalue()
    assert "(expected str)" in out.getvalue()


def test_what_a_mail_says_is_left_to_debug(out: io.StringIO) -> None:
    telemetry.logger().info("x.y", subject="canary")
    telemetry.logger().debug("x.y", subject="a subject")

    assert [line["subject"] for line in lines(out)] == [telemetry.MASK, "a subject"]


def test_nobody_forges_a_line_or_colours_a_terminal(out: io.StringIO) -> None:
    telemetry.set_up(stream=out, for_people=True)
    telemetry.logger().info("x.y", server='NO\r\n{"event": "forged"}\x1b[2J\u202e\x9b', names=["a\nb"])

    assert len(out.getvalue().splitlines()) == 1
    assert not set("\x1b\u202e\x9b\r") & set(out.getvalue())
    assert "u202e" in out.getvalue()


def test_a_traceback_keeps_its_lines(out: io.StringIO) -> None:
    try:
        raise ValueError("bad\x1b\nthing")
    except ValueError:
        telemetry.logger().exception("x.y")

    (line,) = lines(out)
    assert "Traceback" in line["exception"]
    assert line["exception"].count("\n") >= 3
    assert "\x1b" not in line["exception"]


def test_the_log_of_libraries_takes_the_same_way(out: io.StringIO) -> None:
    logging.getLogger("uvicorn.error").warning("odd: %s", f"\x1b {KEY}")

    (line,) = lines(out)
    assert line["event"] == f"odd: \\x1b {telemetry.MASK}"


def test_context_that_belongs_to_a_request_is_on_every_line(out: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        telemetry.logger().info("x.y")

    assert lines(out)[0]["request_id"] == "r1"
