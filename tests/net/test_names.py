"""What name servers say is bounded and checked; what they do not say in time is not waited for."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from servers.names import NameServer, name_server

from postroom.net import names
from postroom.net.model import Service


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    async with name_server() as running:
        yield running


async def test_the_hosts_that_take_mail_come_in_their_order(server: NameServer) -> None:
    server.zone["example.org", "MX"] = ["20 Second.example.net.", "5 first.example.net."]

    assert await server.names.mail_hosts("example.org") == ["first.example.net", "second.example.net"]


async def test_services_are_told_with_the_word_that_there_is_none(server: NameServer) -> None:
    server.zone["_imaps._tcp.example.org", "SRV"] = ["1 2 993 mail.example.org."]
    server.zone["_imap._tcp.example.org", "SRV"] = ["0 0 0 ."]

    assert await server.names.services("_imaps._tcp", "example.org") == [
        Service(1, 2, 993, "mail.example.org")
    ]
    assert await server.names.services("_imap._tcp", "example.org") == [Service(0, 0, 0, "")]


@pytest.mark.parametrize(
    "target",
    ["127.0.0.1.", "2130706433.", "a\\032b.example.", "a\\000.example.", "x/y.example.", "-a.example."],
)
async def test_a_target_that_no_host_is_called_is_not_believed(server: NameServer, target: str) -> None:
    server.zone["_imaps._tcp.example.org", "SRV"] = [f"0 0 993 {target}", "9 0 993 good.example."]
    server.zone["example.org", "MX"] = [f"0 {target}"]

    assert await server.names.services("_imaps._tcp", "example.org") == [Service(9, 0, 993, "good.example")]
    assert await server.names.mail_hosts("example.org") == []


async def test_a_service_without_a_port_is_none(server: NameServer) -> None:
    server.zone["_imaps._tcp.example.org", "SRV"] = ["0 0 0 mail.example.org."]

    assert await server.names.services("_imaps._tcp", "example.org") == []


async def test_a_long_answer_comes_over_tcp_and_is_cut(server: NameServer) -> None:
    records = [f"{n} 0 993 a-host-with-a-long-name-{n}.example.org." for n in range(300)]
    server.zone["_imaps._tcp.example.org", "SRV"] = records

    assert len(await server.names.services("_imaps._tcp", "example.org")) == names.MOST


async def test_a_name_that_stands_for_another_is_followed(server: NameServer) -> None:
    server.zone["example.org", "CNAME"] = ["example.net."]
    server.zone["example.net", "MX"] = ["0 mx.example.net."]

    assert await server.names.mail_hosts("example.org") == ["mx.example.net"]


async def test_names_that_stand_for_each_other_lead_nowhere(server: NameServer) -> None:
    server.zone["example.org", "CNAME"] = ["example.net."]
    server.zone["example.net", "CNAME"] = ["example.org."]

    assert await server.names.mail_hosts("example.org") == []


async def test_a_chain_of_names_without_end_leads_nowhere(server: NameServer) -> None:
    for n in range(40):
        server.zone[f"n{n}.example.org", "CNAME"] = [f"n{n + 1}.example.org."]
    server.zone["n39.example.org", "MX"] = ["0 mx.example.org."]

    assert await server.names.mail_hosts("n0.example.org") == []


@pytest.mark.parametrize(
    "twist",
    [
        lambda _: b"",
        lambda raw: raw[:20],
        lambda _: b"\0" * 40,
        lambda raw: bytes([raw[0] ^ 1]) + raw[1:],  # the answer to another question
        lambda raw: raw[:12] + b"\xc0\x0c" * 20,  # a name that is part of itself
        lambda raw: raw[:6] + b"\xff\xff" + raw[8:],  # more records than there are
    ],
)
async def test_what_is_no_answer_is_none(
    server: NameServer, twist: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "LIMIT", 0.3)
    server.zone["example.org", "MX"] = ["0 mx.example.org."]
    server.twist = twist  # type: ignore[assignment]

    assert await server.names.mail_hosts("example.org") == []


async def test_nobody_waits_long_for_a_server_that_is_silent(
    server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "LIMIT", 0.2)
    server.silent = True

    async with asyncio.timeout(5):
        assert await server.names.services("_imaps._tcp", "example.org") == []
    assert server.asked


async def test_what_does_not_exist_is_not_told_and_the_search_list_is_not_tried(server: NameServer) -> None:
    assert await server.names.mail_hosts("nothing.example") == []
    assert [name for name, _ in server.asked] == ["nothing.example"]


@pytest.mark.parametrize("domain", ["a" * 64 + ".example", ".".join(["a" * 60] * 5), "a..b"])
async def test_a_domain_that_cannot_be_asked_for_has_no_answer(server: NameServer, domain: str) -> None:
    assert await server.names.mail_hosts(domain) == []
    assert server.asked == []
