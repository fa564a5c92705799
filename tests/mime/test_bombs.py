"""Whatever a mail is made of, reading it takes time in proportion to its size, and the result is bounded."""

import pytest
from costs import seconds
from mime.bombs import BOMBS

from postroom.mime.html import sanitise
from postroom.mime.limits import ADDRESSES, HEADERS, HTML_CHARS, PARTS, TEXT_CHARS
from postroom.mime.model import ParsedMessage
from postroom.mime.parse import parse

SIZE = 1 << 18
LINEAR = 9  # at most, for four times as much: caches make 4 to 5.4 of it; what is quadratic makes 16


def sanitised(message: ParsedMessage) -> str:
    return sanitise(message.html or "").html


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_four_times_the_bytes_take_about_four_times_as_long(name: str) -> None:
    small, large = BOMBS[name](SIZE), BOMBS[name](SIZE * 4)

    once, four_times = seconds(lambda: parse(small)), seconds(lambda: parse(large))

    assert four_times < max(once, 0.05) * LINEAR


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in BOMBS if "html" in name])
def test_sanitising_is_linear_too(name: str) -> None:
    small, large = parse(BOMBS[name](SIZE)), parse(BOMBS[name](SIZE * 4))

    once, four_times = seconds(lambda: sanitised(small)), seconds(lambda: sanitised(large))

    assert four_times < max(once, 0.05) * LINEAR


@pytest.mark.parametrize("name", BOMBS)
def test_what_comes_out_is_bounded(name: str) -> None:
    message = parse(BOMBS[name](SIZE // 4))

    assert len(message.headers) <= HEADERS
    assert len(message.attachments) <= PARTS
    assert len(message.to) <= ADDRESSES
    assert len(message.text) <= TEXT_CHARS
    assert len(message.html or "") <= HTML_CHARS
    assert len(message.preview) <= 200


def test_each_limit_is_named_in_the_defects() -> None:
    assert "headers.too_long" in parse(BOMBS["headers"](1 << 19)).defects
    assert "headers.too_many" in parse(BOMBS["headers"](100_000)).defects
    assert "parts.too_many" in parse(BOMBS["parts"](100_000)).defects
    assert "parts.too_deep" in parse(BOMBS["nested"](100_000)).defects
    assert "addresses.too_many" in parse(BOMBS["addresses"](100_000)).defects
    assert "ids.too_many" in parse(b"References: " + b" ".join(b"<%d@x>" % n for n in range(1_200))).defects
    assert "text.truncated" in parse(BOMBS["quotes"](TEXT_CHARS + 10)).defects
    assert "html.truncated" in parse(BOMBS["html entities"](HTML_CHARS + 10)).defects
    assert "calendar.too_many" in parse(BOMBS["calendar"](2_000)).defects
