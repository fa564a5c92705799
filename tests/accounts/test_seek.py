"""Find a mailbox's server by asking real name servers and web servers, and try what they say."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from accounts.test_autodiscover import config
from accounts.test_autodiscover import server as listed
from net.test_tls import certificate
from servers.names import NameServer, name_server
from servers.web import Answering, Authority, Place, leading, page, site

from postroom.accounts import autoconfig, seeker
from postroom.accounts.autodiscover import FoundBy
from postroom.accounts.connect import Found, NoServerFound, Wish, examine
from postroom.accounts.seeker import Seeker
from postroom.lab.accounts import ADDRESS
from postroom.lab.certificate import Certificate
from postroom.lab.server import PASSWORD, LabServer, serve
from postroom.net.egress import Egress
from postroom.net.model import EgressRefused
from postroom.providers.model import AppPassword, NotTrusted, TlsRefused, WrongPassword
from postroom.providers.registry import Registry

DOMAIN = ADDRESS.rpartition("@")[2]
MAIL = "mail.elsewhere.example"
AUTOCONFIG = f"autoconfig.{DOMAIN}"
DOCUMENT = "/mail/config-v1.1.xml"
WELL_KNOWN = "/.well-known/autoconfig/mail/config-v1.1.xml"
LOOPBACK = "127.0.0.1"
ANYWHERE = Egress(private_allowed=True)
PUBLIC = Egress(private_allowed=False)


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    async with name_server() as server:
        yield server


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.made(tmp_path)


@pytest.fixture
def signed(authority: Authority) -> Certificate:
    """Of the mail server, for its own name."""
    pem = certificate(authority.folder, MAIL, signed_by=authority.pem)
    return Certificate(pem, pem)


async def found(
    names: NameServer,
    authority: Authority,
    *,
    address: str = ADDRESS,
    password: str = PASSWORD,
    allowed: Egress = ANYWHERE,
) -> Found:
    wish = Wish(address, password, ca_file=str(authority.pem))
    return await examine(Registry(allowed), wish, seek=Seeker(allowed, names.names))


def srv(names: NameServer, *targets: str) -> None:
    names.zone[f"_imap._tcp.{DOMAIN}", "SRV"] = list(targets)


def places(server: LabServer) -> dict[Place, Place]:
    return {(MAIL, server.port): (LOOPBACK, server.port)}


async def test_a_server_named_by_the_dns_is_found_outside_of_the_domain(
    names: NameServer, authority: Authority, signed: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(messages=5, certificate=signed) as server:
        srv(names, f"0 0 {server.port} {MAIL}.")
        leading(monkeypatch, places(server))

        one = await found(names, authority)

    assert one.found_by is FoundBy.SRV
    assert (one.settings["host"], one.settings["security"]) == (MAIL, "starttls")
    assert one.estimate.messages >= 5


async def test_of_several_targets_the_next_is_tried_when_one_is_dead(
    names: NameServer, authority: Authority, signed: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(messages=5, certificate=signed) as server:
        srv(names, "0 5 143 gone.example.", "0 5 143 away.example.", f"10 0 {server.port} {MAIL}.")
        asked = leading(monkeypatch, places(server))

        one = await found(names, authority)

    assert one.settings["host"] == MAIL
    assert {"gone.example", "away.example"} < set(asked)


async def test_a_target_whose_certificate_is_for_another_name_is_not_logged_in_to(
    names: NameServer, authority: Authority, signed: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(messages=5, certificate=signed) as server:
        srv(names, f"0 0 {server.port} evil.example.")
        leading(monkeypatch, {("evil.example", server.port): (LOOPBACK, server.port)})

        with pytest.raises(NotTrusted, match="certificate is for another name"):
            await found(names, authority)


async def test_a_server_named_by_the_dns_gets_no_password_without_tls(
    names: NameServer, authority: Authority, signed: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(messages=5, certificate=signed, faults=["starttls-stripped"]) as server:
        srv(names, f"0 0 {server.port} {MAIL}.")
        leading(monkeypatch, places(server))

        with pytest.raises(TlsRefused, match="nothing was sent"):
            await found(names, authority)


async def test_a_password_that_one_server_refuses_is_shown_to_no_other(
    names: NameServer, authority: Authority, signed: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(messages=5, certificate=signed) as server:
        srv(names, f"0 0 {server.port} {MAIL}.", "9 0 143 next.example.")
        asked = leading(monkeypatch, places(server))

        with pytest.raises(WrongPassword):
            await found(names, authority, password="wrong")

    assert "next.example" not in asked


async def test_the_dns_is_no_way_into_a_private_network(
    names: NameServer, authority: Authority, signed: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(messages=5, certificate=signed) as server:
        srv(names, f"0 0 {server.port} {MAIL}.", f"0 0 {server.port} localhost.")
        leading(monkeypatch, {**places(server), ("localhost", server.port): (LOOPBACK, server.port)})

        with pytest.raises(EgressRefused):
            await found(names, authority, allowed=PUBLIC)


async def test_the_domains_own_document_is_read_and_only_its_own_host_is_told_the_address(
    names: NameServer, authority: Authority, signed: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(messages=5, certificate=signed) as server:
        document = config(listed(MAIL, str(server.port), "STARTTLS"))
        own, well_known = {DOCUMENT: page(document)}, {WELL_KNOWN: page(document)}
        async with (
            site(authority.context(AUTOCONFIG), own) as first,
            site(authority.context(DOMAIN), well_known) as second,
        ):
            https = {(AUTOCONFIG, 443): (LOOPBACK, first.port), (DOMAIN, 443): (LOOPBACK, second.port)}
            asked = leading(monkeypatch, {**places(server), **https})
            one = await found(names, authority)

    assert one.found_by is FoundBy.AUTOCONFIG
    assert first.asked == [f"GET {DOCUMENT}?emailaddress=robin%40lab.example HTTP/1.1"]
    assert second.asked == [f"GET {WELL_KNOWN} HTTP/1.1"]
    assert "autoconfig.thunderbird.net" not in asked


async def test_a_document_of_the_second_place_is_as_good(
    names: NameServer, authority: Authority, signed: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(messages=5, certificate=signed) as server:
        document = config(listed(MAIL, str(server.port), "STARTTLS"))
        async with site(authority.context(DOMAIN), {WELL_KNOWN: page(document)}) as here:
            leading(monkeypatch, {**places(server), (DOMAIN, 443): (LOOPBACK, here.port)})
            assert (await found(names, authority)).found_by is FoundBy.AUTOCONFIG


DOCUMENT_OF = config(listed(MAIL, "993", "SSL"))


@pytest.mark.parametrize(
    "answer",
    [
        page(DOCUMENT_OF, status="404 Not Found"),
        page(DOCUMENT_OF, status="302 Found", headers="Location: https://elsewhere.example/\r\n"),
        page(DOCUMENT_OF, headers="Content-Encoding: gzip\r\n"),
        page(DOCUMENT_OF + b" " * autoconfig.LARGEST),
    ],
    ids=["not there", "elsewhere", "packed", "too long"],
)
async def test_what_is_not_a_whole_small_document_is_none(
    names: NameServer, authority: Authority, monkeypatch: pytest.MonkeyPatch, answer: Answering
) -> None:
    for one, is_found in ((page(DOCUMENT_OF), True), (answer, False)):
        async with site(authority.context(DOMAIN), {WELL_KNOWN: one}) as here:
            asked = leading(monkeypatch, {(DOMAIN, 443): (LOOPBACK, here.port)})
            told = await Seeker(ANYWHERE, names.names)(ADDRESS, authority.pem)

        assert here.asked
        assert (FoundBy.AUTOCONFIG in {candidate.found_by for candidate in told}) is is_found
        assert "elsewhere.example" not in asked


async def test_a_document_is_read_only_of_who_proves_the_name_and_is_no_way_into_a_private_network(
    names: NameServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = {WELL_KNOWN: page(DOCUMENT_OF)}
    async with site(authority.context(DOMAIN), pages) as here, site(authority.context(MAIL), pages) as other:
        for allowed, port in ((PUBLIC, here.port), (ANYWHERE, other.port)):
            leading(monkeypatch, {(DOMAIN, 443): (LOOPBACK, port)})
            told = await Seeker(allowed, names.names)(ADDRESS, authority.pem)
            assert {candidate.found_by for candidate in told} == {FoundBy.GUESS}

    assert (here.asked, other.asked) == ([], [])


async def test_mozilla_is_asked_only_where_that_is_allowed(
    names: NameServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = leading(monkeypatch, {})
    await Seeker(ANYWHERE, names.names)("ann@example.org", authority.pem)
    assert "autoconfig.thunderbird.net" not in asked

    await Seeker(ANYWHERE, names.names, ispdb=True)("ann@example.org", authority.pem)
    assert "autoconfig.thunderbird.net" in asked


async def test_who_takes_no_password_is_not_sent_one(
    names: NameServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    names.zone[DOMAIN, "MX"] = ["0 lab-example.mail.protection.outlook.com."]
    asked = leading(monkeypatch, {})

    with pytest.raises(AppPassword, match="only be connected with OAuth"):
        await found(names, authority)
    assert "outlook.office365.com" not in asked


async def test_an_address_of_the_table_asks_nobody(
    names: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = leading(monkeypatch, {})

    (one,) = await Seeker(ANYWHERE, names.names)("ann@gmail.com")

    assert (one.found_by, one.settings["host"]) == (FoundBy.TABLE, "imap.gmail.com")
    assert (asked, names.asked) == ([], [])


async def test_a_domain_in_another_script_is_asked_for_by_its_name_in_the_dns(
    names: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    leading(monkeypatch, {})

    guesses = await Seeker(ANYWHERE, names.names)("ann@bücher.example")

    assert guesses[0].settings["host"] == "imap.xn--bcher-kva.example"
    assert ("xn--bcher-kva.example", "MX") in names.asked


async def test_whoever_is_silent_holds_up_nobody(
    names: NameServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def say_nothing(writer: asyncio.StreamWriter) -> None:
        await writer.wait_closed()

    names.silent = True
    monkeypatch.setattr(seeker, "LIMIT", 0.3)
    async with site(authority.context(AUTOCONFIG), {DOCUMENT: say_nothing}) as here:
        leading(monkeypatch, {(AUTOCONFIG, 443): (LOOPBACK, here.port)})
        async with asyncio.timeout(5):
            with pytest.raises(NoServerFound, match=r"tried imap\.lab\.example") as caught:
                await found(names, authority)

    assert here.asked
    assert {one["code"] for one in caught.value.data["tried"]} == {"providers.unknown_host"}
