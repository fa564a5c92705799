"""How the options of `postroom lab imap` are read."""

from datetime import timedelta

import pytest
import typer

from postroom.cli.lab import rate, span


@pytest.mark.parametrize(
    ("text", "seconds"), [("5/s", 0.2), ("30/min", 2.0), ("0.5 / s", 2.0), ("60/m", 1.0), ("7200/h", 0.5)]
)
def test_a_rate_is_how_long_apart_things_are(text: str, seconds: float) -> None:
    assert rate(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "0/s", "-1/s", "5/year", "s/5", "nan/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        rate(text)


@pytest.mark.parametrize(("text", "seconds"), [("20s", 20.0), ("500ms", 0.5), ("2min", 120.0), ("3", 3.0)])
def test_a_span_is_a_length_of_time(text: str, seconds: float) -> None:
    assert span(text) == timedelta(seconds=seconds)
