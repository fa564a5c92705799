"""However an inner address is written, or named, nobody connects to it."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address

import pytest
from net.forms import ADDRESSES, FORMS, NAMES, own, records
from servers.canary import Canary, canary
from servers.names import NameServer, asking, name_server
from servers.web import Answering, page, site

from postroom.errors import PostroomError
from postroom.net.client import Client
from postroom.net.egress import Address, Egress, connect, is_own
from postroom.net.model import EgressRefused, UnknownHost

PUBLIC_ONLY = Egress(private_allowed=False)
OUTSIDE, INSIDE = "127.0.0.222", "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Pretended(Egress):
    """To which one address of this machine is of the open internet, so that nobody else's has to be."""

    def allows(self, address: Address) -> bool:
        return address == ip_address(OUTSIDE) or Egress.allows(self, address)


PRETENDED = Pretended(private_allowed=False)


@pytest.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[NameServer]:
    async with name_server() as server:
        server.zone |= records()
        asking(monkeypatch, server)
        yield server


@pytest.fixture
def watching() -> Iterator[Canary]:
    with canary() as made:
        yield made


@asynccontextmanager
async def outside(steps: Mapping[str, str]) -> AsyncIterator[int]:
    """A web server of the open internet that sends on, from path to URL; its port."""
    pages: dict[str, Answering] = {}
    async with site(None, pages, OUTSIDE) as here:
        for path, there in steps.items():
            location = there.replace("{port}", str(here.port))
            pages[path] = page(b"", status="302 Found", headers=f"Location: {location}\r\n")
        yield here.port


def test_there_are_many_forms() -> None:
    assert len(set(FORMS)) == len(FORMS) >= 200


@pytest.mark.parametrize("host", FORMS)
async def test_no_form_leads_inside(host: str, names: NameServer, watching: Canary) -> None:
    del names
    with pytest.raises((EgressRefused, UnknownHost)):
        await connect(host, watching.port, PUBLIC_ONLY)

    assert watching.is_silent


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "0x7f.1", "::1", "localhost", "two-links.example", "bücher.example"]
)
async def test_where_it_is_allowed_the_same_forms_arrive(
    host: str, names: NameServer, watching: Canary
) -> None:
    """So what is refused above is refused by the rule, and the canary is awake."""
    del names
    (await connect(host, watching.port, Egress(private_allowed=True))).close()

    assert not watching.is_silent


async def test_names_are_refused_for_where_they_lead_and_not_for_what_they_are(
    names: NameServer, watching: Canary
) -> None:
    for name in NAMES:
        if name == "own.example" and not own():
            continue
        with pytest.raises(EgressRefused):
            await connect(name, watching.port, PUBLIC_ONLY)
    assert {name for name, _ in names.asked} >= {name for name, kind in records() if kind != "CNAME"}


def test_an_address_of_this_machine_is_its_own_however_it_is_wrapped() -> None:
    for text in [*own(), "127.0.0.1", "::1"]:
        address = ip_address(text)
        assert is_own(address)
        if address.version == 4:
            assert is_own(ip_address(f"::ffff:{text}"))
            assert is_own(ip_address(f"64:ff9b::{text}"))
    assert not is_own(ip_address("8.8.8.8"))


async def test_a_public_address_of_this_machine_is_not_the_open_internet(
    monkeypatch: pytest.MonkeyPatch, watching: Canary
) -> None:
    """Behind a firewall listens what nobody may reach from elsewhere. That it is public is pretended."""
    monkeypatch.setattr("postroom.net.egress.is_public", lambda _: True)
    for host in own():
        with pytest.raises(EgressRefused):
            await connect(host, watching.port, PUBLIC_ONLY)
    assert watching.is_silent


async def test_a_name_that_leads_elsewhere_the_second_time_gains_nothing(
    names: NameServer, watching: Canary
) -> None:
    """The name server tells a public address when it is asked to check, and an inner one after that."""
    names.turns["rebind.example", "A"] = [[OUTSIDE]]
    names.zone["rebind.example", "A"] = [INSIDE]
    (await connect("rebind.example", watching.port, PRETENDED)).close()

    assert watching.begun == [(OUTSIDE, watching.port)]
    with pytest.raises(EgressRefused):
        await connect("rebind.example", watching.port, PRETENDED)
    assert watching.begun == [(OUTSIDE, watching.port)]


async def test_a_name_that_changes_between_two_requests_gains_nothing(
    names: NameServer, watching: Canary
) -> None:
    names.turns["rebind.example", "A"] = [[OUTSIDE]]
    names.zone["rebind.example", "A"] = [INSIDE]
    async with outside({}) as port:
        client, url = Client(PRETENDED), f"http://rebind.example:{port}/"
        assert (await client.send("GET", url)).status == 404
        with pytest.raises(EgressRefused):
            await client.send("GET", url)

    assert watching.begun == [(OUTSIDE, port)]


@pytest.mark.parametrize("host", ADDRESSES)
async def test_no_redirect_leads_inside(host: str, names: NameServer, watching: Canary) -> None:
    names.zone["outside.example", "A"] = [OUTSIDE]
    written = f"[{host}]" if ":" in host else host
    there = f"http://{written}:{watching.port}/"
    async with outside({"/": there}) as port:
        with pytest.raises(PostroomError):
            await Client(PRETENDED).send("GET", f"http://outside.example:{port}/", hops=5)

    assert watching.begun == [(OUTSIDE, port)]


async def test_no_chain_of_redirects_leads_inside(names: NameServer, watching: Canary) -> None:
    names.zone["outside.example", "A"] = [OUTSIDE]
    names.turns["rebind.example", "A"] = [[OUTSIDE]]
    names.zone["rebind.example", "A"] = [INSIDE]
    steps = {"/": "/next", "/next": "http://rebind.example:{port}/on", "/on": "//rebind.example:{port}/in"}
    async with outside(steps) as port:
        with pytest.raises(EgressRefused):
            await Client(PRETENDED).send("GET", f"http://outside.example:{port}/", hops=5)

    assert watching.begun == [(OUTSIDE, port)] * 3
