"""An issuer whose server is down, slow, wrong, or has other keys than before."""

import asyncio
import json
import time
from datetime import timedelta
from typing import Any

import pytest
from people.forging import EVIL, HEADER
from servers.issuer import Issuer, jwk, key, signed
from servers.web import Answering, page

from postroom.db.beside import beside
from postroom.net.client import Client
from postroom.net.egress import Egress
from postroom.people.jwks import MOST, Jwks, Rhythm
from postroom.people.model import BadToken, IssuerAway
from postroom.people.tokens import Issuers

NEVER, NOW = timedelta(days=1), timedelta()


def asking(issuer: Issuer, rhythm: Rhythm | None = None, **more: Any) -> Jwks:
    """With a short patience."""
    http = Client(Egress(private_allowed=True), most=MOST, limit=timedelta(seconds=0.3))
    return Jwks(issuer.settings(**more), http, rhythm or Rhythm())


def over(jwks: Jwks) -> Issuers:
    return Issuers({jwks.issuer.issuer: jwks})


async def cut(writer: Any) -> None:
    writer.transport.abort()


async def stalled(_writer: Any) -> None:
    await asyncio.Event().wait()


OTHER = json.dumps({"keys": [jwk(EVIL, kid="other")]}).encode()
TROUBLE: dict[str, Answering] = {
    "cut off": cut,
    "slow": stalled,
    "500": page(OTHER, status="500 Oops"),
    "404": page(OTHER, status="404 Not Found"),
    "nothing": page(b""),
    "no JSON": page(b"<html>"),
    "a list": page(b"[]"),
    "no keys": page(b"{}"),
    "an empty set": page(b'{"keys": []}'),
    "keys that are a text": page(b'{"keys": "one"}'),
    "a set of nonsense": page(b'{"keys": [1, null, "x", {}, {"kty": "RSA", "kid": "one"}]}'),
    "10 MB": page(b'{"keys": [' + b" " * (10 << 20) + b"]}"),
    "elsewhere": page(OTHER, status="302 Found", headers="Location: /other\r\n"),
    "compressed": page(b"\x1f\x8b", headers="Content-Encoding: gzip\r\n"),
}


@pytest.mark.parametrize("trouble", TROUBLE)
async def test_what_is_known_stays_known_whatever_the_server_does(trouble: str) -> None:
    async with Issuer().running() as issuer:
        jwks = asking(issuer, Rhythm(unknown=NOW))
        assert await over(jwks).verified(issuer.token())

        issuer.instead = TROUBLE[trouble]
        stranger = signed({**HEADER, "kid": "two"}, issuer.claims(), key("two"))
        with pytest.raises(IssuerAway):
            await over(jwks).verified(stranger)

        assert await over(jwks).verified(issuer.token())
        assert "/other" not in issuer.asked

        issuer.instead, issuer.keys["two"] = None, key("two")
        assert await over(jwks).verified(stranger)


async def test_what_is_known_stays_known_while_nobody_listens() -> None:
    issuer = Issuer()
    async with issuer.running():
        jwks = asking(issuer, Rhythm(unknown=NOW))
        await over(jwks).verified(issuer.token())

    assert await over(jwks).verified(issuer.token())
    with pytest.raises(BadToken):
        await over(jwks).verified(signed(HEADER, issuer.claims(), EVIL))
    with pytest.raises(IssuerAway):
        await over(jwks).verified(signed({**HEADER, "kid": "two"}, issuer.claims(), key("two")))


async def test_what_was_told_too_long_ago_is_not_believed_for_ever() -> None:
    async with Issuer().running() as issuer:
        jwks = asking(issuer, Rhythm(unknown=NOW, keep=timedelta(seconds=0.05)))
        await over(jwks).verified(issuer.token())
        issuer.instead = cut

        async with asyncio.timeout(10):
            while True:
                try:
                    await over(jwks).verified(issuer.token())
                except IssuerAway:
                    return
                await asyncio.sleep(0)  # else nobody looks at the clock


async def test_before_the_first_answer_nobody_can_say() -> None:
    async with Issuer(instead=cut).running() as issuer:
        with pytest.raises(IssuerAway) as error:
            await over(asking(issuer)).verified(issuer.token())

    assert error.value.wait > timedelta()


async def test_an_unknown_key_is_asked_for_once_a_minute_however_many_come() -> None:
    async with Issuer().running() as issuer:
        issuers = over(asking(issuer))
        await issuers.verified(issuer.token())
        tokens = [signed({**HEADER, "kid": f"k{n}"}, issuer.claims(), EVIL) for n in range(50)]

        outcomes = await asyncio.gather(*map(issuers.verified, tokens), return_exceptions=True)

    assert {type(each) for each in outcomes} == {BadToken}
    assert issuer.asked == ["/jwks"]


async def test_all_who_wait_share_one_answer() -> None:
    async with Issuer().running() as issuer:
        issuers = over(asking(issuer))
        await asyncio.gather(*(issuers.verified(issuer.token(sub=f"user_{n}")) for n in range(50)))

    assert issuer.asked == ["/jwks"]


async def test_who_comes_while_keys_are_fetched_waits_for_that_answer() -> None:
    go = asyncio.Event()

    async def held(writer: Any) -> None:
        await go.wait()
        await page(json.dumps(issuer.jwks).encode())(writer)

    async with Issuer(instead=held).running() as issuer:
        jwks = Jwks(issuer.settings())
        async with asyncio.timeout(10), beside(over(jwks).keep_fresh()):
            await issuer.was_asked.wait()
            coming = asyncio.gather(over(jwks).verified(issuer.token()))
            await asyncio.sleep(0)
            go.set()
            await coming

    assert issuer.asked == ["/jwks"]


async def test_a_rotated_key_is_picked_up_and_the_old_one_ends() -> None:
    async with Issuer().running() as issuer:
        issuers = over(asking(issuer, Rhythm(unknown=NOW)))
        old = issuer.token()
        await issuers.verified(old)
        issuer.keys = {"two": key("two")}

        assert await issuers.verified(issuer.token("two"))
        with pytest.raises(BadToken):
            await issuers.verified(old)


async def test_a_key_that_is_withdrawn_ends_though_nobody_asks() -> None:
    async with Issuer().running() as issuer:
        jwks = asking(issuer, Rhythm(refresh=timedelta(milliseconds=10), unknown=NEVER))
        async with asyncio.timeout(10), beside(over(jwks).keep_fresh()):
            await issuer.was_asked.wait()
            assert await over(jwks).verified(issuer.token())
            old, issuer.keys = issuer.token(), {"two": key("two")}
            issuer.was_asked.clear()
            await issuer.was_asked.wait()
            issuer.was_asked.clear()
            await issuer.was_asked.wait()

            with pytest.raises(BadToken):
                await over(jwks).verified(old)


async def test_an_issuer_that_was_away_at_the_start_is_asked_again() -> None:
    async with Issuer(instead=cut).running() as issuer:
        jwks = asking(issuer, Rhythm(retry=timedelta(milliseconds=10), unknown=NEVER))
        async with asyncio.timeout(10), beside(over(jwks).keep_fresh()):
            await issuer.was_asked.wait()
            with pytest.raises(IssuerAway):
                await over(jwks).verified(issuer.token())
            issuer.instead = None
            issuer.was_asked.clear()
            await issuer.was_asked.wait()

            assert await over(jwks).verified(issuer.token())


async def test_a_known_key_waits_for_no_server() -> None:
    async with Issuer().running() as issuer:
        jwks = asking(issuer, Rhythm(refresh=NOW))
        await over(jwks).verified(issuer.token())
        issuer.instead = stalled
        issuer.was_asked.clear()
        async with asyncio.timeout(10), beside(over(jwks).keep_fresh()):
            await issuer.was_asked.wait()
            began = time.perf_counter()
            assert await over(jwks).verified(issuer.token())

            assert time.perf_counter() - began < 0.2


async def test_an_issuer_tells_where_its_keys_are() -> None:
    async with Issuer().running() as issuer:
        assert await over(asking(issuer, jwks_url=None)).verified(issuer.token())

    assert issuer.asked == ["/.well-known/openid-configuration", "/jwks"]


@pytest.mark.parametrize(
    "configuration",
    [{"issuer": "https://another.example"}, {"jwks_uri": None}, {"jwks_uri": 7}, {"jwks_uri": "file:///etc"}],
    ids=str,
)
async def test_a_configuration_of_somebody_else_is_not_believed(configuration: dict[str, Any]) -> None:
    async with Issuer(configuration=configuration).running() as issuer:
        with pytest.raises(IssuerAway):
            await over(asking(issuer, jwks_url=None)).verified(issuer.token())

    assert issuer.asked == ["/.well-known/openid-configuration"]
