"""How often a key may ask."""

import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from costs import seconds
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from servers.api import Client, key_of
from servers.tenants import ONE
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from postroom.db.pool import Database
from postroom.http import rates as module
from postroom.http.rates import Rates, TooManyRequests


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_minutes_worth_may_come_at_once_and_then_as_fast_as_it_fills() -> None:
    clock = Clock()
    rates = Rates(60, clock)

    assert [rates.take("a").left for _ in range(60)] == list(range(59, -1, -1))
    refused = rates.take("a")
    assert refused.left == 0
    assert refused.wait == pytest.approx(1)
    assert refused.full_in == pytest.approx(60)
    clock.now += 0.5
    assert rates.take("a").wait == pytest.approx(0.5)
    clock.now += 0.5
    assert rates.take("a").wait == 0
    assert rates.take("a").wait == pytest.approx(1)
    clock.now += 60
    assert rates.take("a").left == 59


def test_each_key_has_a_bucket_of_its_own() -> None:
    rates = Rates(1, Clock())

    assert [rates.take(key).wait > 0 for key in "aabba"] == [False, True, False, True, True]


def test_who_waits_as_long_as_told_is_let_through() -> None:
    for quota in (1, 7, 6000, 999_983):
        clock = Clock()
        rates = Rates(quota, clock)
        while not (wait := rates.take("a").wait):
            pass
        for _ in range(100):
            clock.now += wait
            assert not rates.take("a").wait
            wait = rates.take("a").wait
            assert wait


@given(st.lists(st.floats(0, 5), max_size=200))
@settings(max_examples=100)
def test_never_more_than_twice_the_quota_in_a_minute(pauses: list[float]) -> None:
    clock, through = Clock(), list[float]()
    rates = Rates(10, clock)
    for pause in pauses:
        clock.now += pause
        if not rates.take("a").wait:
            through.append(clock.now)

    assert all(sum(at <= each < at + 60 for each in through) <= 20 for at in through)


def test_buckets_that_are_full_again_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MANY", 100)
    clock = Clock()
    rates = Rates(60, clock)
    for key in range(10_000):
        rates.take(key)
        clock.now += 0.1

    assert len(rates._full_at) <= 101


def test_buckets_that_are_all_in_use_are_not_looked_through_with_every_request() -> None:
    def take(many: int) -> None:
        rates = Rates(1, Clock())
        for key in range(many):
            rates.take(key)

    assert seconds(lambda: take(2 * module.MANY)) < 5 * seconds(lambda: take(module.MANY))


def test_no_quota_lets_everything_through_and_tells_nothing() -> None:
    connection = HTTPConnection({"type": "http", "headers": Headers({}).raw})
    for _ in range(100):
        Rates(0).count(connection, "a")

    assert module.told(connection.scope) == {}


def test_a_refusal_says_how_long_to_wait() -> None:
    connection = HTTPConnection({"type": "http", "headers": Headers({}).raw})
    rates = Rates(4, Clock())
    for _ in range(4):
        rates.count(connection, "a")
    with pytest.raises(TooManyRequests) as refused:
        rates.count(connection, "a")

    assert refused.value.wait.total_seconds() == pytest.approx(15)
    assert module.told(connection.scope) == {
        "RateLimit-Policy": '"key";q=4;w=60',
        "RateLimit": '"key";r=0;t=60',
    }


async def test_every_answer_to_a_key_tells_how_it_stands_and_the_last_one_how_long_to_wait(
    app: FastAPI, api: Client, db: Database, connect: Callable[[str | None], Client]
) -> None:
    app.state.door = replace(app.state.door, rates=Rates(3, Clock()))
    answers = [
        await api.get("/v1/mail/messages"),
        await api.get("/v1/mail/folders"),
        await api.get("/v1/mail/messages?page=0"),  # asked wrongly, and asked all the same
        await api.get("/v1/mail/messages"),
    ]
    other = await connect(await key_of(db, ONE)).get("/v1/mail/messages")

    assert [answer.status_code for answer in answers] == [200, 200, 422, 429]
    left = [re.fullmatch(r'"key";r=(\d+);t=(\d+)', answer.headers["RateLimit"]) for answer in answers]
    assert [found and found.groups() for found in left] == [
        ("2", "20"),
        ("1", "40"),
        ("0", "60"),
        ("0", "60"),
    ]
    assert {answer.headers["RateLimit-Policy"] for answer in answers} == {'"key";q=3;w=60'}
    refused = answers[3]
    assert (refused.json()["code"], refused.headers["Retry-After"]) == ("http.too_many_requests", "20")
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert other.status_code == 200


@pytest.mark.parametrize("body", [b"{bad", b"\xff", b"[" * 100_000, b" " * (1 << 20) + b"{}"])
async def test_a_body_that_cannot_be_read_counts_too(
    app: FastAPI, api: Client, stranger: Client, body: bytes
) -> None:
    app.state.door = replace(app.state.door, rates=Rates(1, Clock()))

    async def parts() -> AsyncIterator[bytes]:
        yield body

    is_json = {"Content-Type": "application/json"}
    path = "/v1/people/keys"
    answers = [await client.post(path, content=parts(), headers=is_json) for client in (stranger, api, api)]

    assert answers[0].status_code == 401
    assert answers[1].status_code in {400, 413, 422}
    assert answers[1].headers["RateLimit"] == '"key";r=0;t=60'
    assert answers[2].status_code == 429


async def test_who_has_no_key_is_told_of_no_limit(app: FastAPI, stranger: Client) -> None:
    app.state.door = replace(app.state.door, rates=Rates(1, Clock()))
    for path in ("/health", "/v1/mail/messages", "/health"):
        answer = await stranger.get(path)
        assert "RateLimit" not in answer.headers
        assert answer.status_code != 429
    assert json.loads((await stranger.get("/health")).text)["status"] == "ok"
