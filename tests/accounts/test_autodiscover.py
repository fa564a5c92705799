"""What to try for an address, decided from what was answered about its domain."""

from contextlib import suppress

import pytest
from costs import seconds
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.accounts import autoconfig
from postroom.accounts.autoconfig import BadConfig, servers
from postroom.accounts.autodiscover import Candidate, FoundBy, Heard, candidates, in_turn
from postroom.accounts.guess import NoImap
from postroom.net.model import Service
from postroom.providers.model import AppPassword

NONE = [Service(0, 0, 0, "")]


def config(*servers: str) -> bytes:
    inner = "".join(servers)
    head = '<?xml version="1.0" encoding="UTF-8"?><!-- ours -->\n<clientConfig version="1.1">'
    return f'{head}<emailProvider id="x">{inner}</emailProvider></clientConfig>'.encode()


def server(
    host: str = "mail.example.org",
    port: str = "993",
    socket: str = "SSL",
    username: str = "%EMAILADDRESS%",
    *,
    ways: str = "<authentication>password-cleartext</authentication>",
    kind: str = "imap",
) -> str:
    return (
        f'<incomingServer type="{kind}"><hostname>{host}</hostname><port>{port}</port>'
        f"<socketType>{socket}</socketType><username>{username}</username>{ways}</incomingServer>"
    )


def found(heard: Heard, address: str = "ann@example.org") -> list[Candidate]:
    return candidates(address, heard, lambda: 0.0)


def where(heard: Heard, address: str = "ann@example.org") -> list[tuple[str, str]]:
    return [(str(one.found_by), one.settings["host"]) for one in found(heard, address)]


def test_what_says_most_comes_first_and_the_guesses_last() -> None:
    heard = Heard(
        ["in1-smtp.messagingengine.com"],
        [Service(0, 1, 993, "srv.example.org")],
        [Service(0, 1, 143, "srv2.example.org")],
        [config(server("own.example.org"))],
        config(server("theirs.example.net")),
    )

    assert where(heard) == [
        ("mx", "imap.fastmail.com"),
        ("srv", "srv.example.org"),
        ("srv", "srv2.example.org"),
        ("autoconfig", "own.example.org"),
        ("ispdb", "theirs.example.net"),
    ]
    assert {one.found_by for one in found(Heard())} == {FoundBy.GUESS}


@pytest.mark.parametrize(
    ("mail_host", "host"),
    [
        ("aspmx.l.google.com", "imap.gmail.com"),
        ("alt1.aspmx.l.googlemail.com", "imap.gmail.com"),
        ("mx01.mail.icloud.com", "imap.mail.me.com"),
        ("mx.zoho.eu", "imappro.zoho.eu"),
        ("mail.protonmail.ch", "127.0.0.1"),
        ("MX.Yandex.net.", "imap.yandex.com"),
    ],
)
def test_who_takes_the_mail_of_a_domain_is_known_by_its_hosts(mail_host: str, host: str) -> None:
    (one,) = found(Heard([mail_host]))

    assert (one.found_by, one.settings["host"]) == (FoundBy.MX, host)
    assert "username" not in one.settings  # a customer's name says nothing of its user name there


def test_a_host_that_only_sounds_like_a_provider_is_none() -> None:
    assert {one.found_by for one in found(Heard(["evil-google.com"]))} == {FoundBy.GUESS}


def test_no_password_goes_to_a_provider_that_takes_none_nor_to_guesses_beside_it() -> None:
    (microsoft,) = found(Heard(["example-org.mail.protection.outlook.com"]))
    (tuta,) = found(Heard(["mail.tutanota.de"]))

    assert isinstance(microsoft.refusal, AppPassword)
    assert isinstance(tuta.refusal, NoImap)


def test_a_grant_goes_where_no_password_may_go() -> None:
    oauth = "<authentication>OAuth2</authentication>"
    document = config(server("own.example.org", ways=oauth))
    heard = Heard(["example-org.mail.protection.outlook.com"], documents=[document])

    by_password, by_grant = (
        candidates("ann@example.org", heard, lambda: 0.0, by_grant=by) for by in (False, True)
    )

    assert [isinstance(one.refusal, AppPassword) for one in by_password] == [True, True]
    assert [one.refusal for one in by_grant] == [None, None]
    assert [one.settings["host"] for one in by_grant] == ["outlook.office365.com", "own.example.org"]


def test_srv_never_leads_to_a_login_without_tls() -> None:
    heard = Heard(imaps=[Service(0, 0, 993, "a.example")], imap=[Service(0, 0, 143, "b.example")])

    offered = [one.settings for one in found(heard) if one.found_by is FoundBy.SRV]
    assert [one["security"] for one in offered] == ["tls", "starttls"]


def test_a_service_that_the_domain_denies_is_not_asked_for() -> None:
    only_tls = Heard(imaps=[Service(0, 0, 993, "a.example")], imap=NONE)

    assert where(only_tls)[0] == ("srv", "a.example")
    assert [by for by, _ in where(only_tls)].count("srv") == 1
    assert found(Heard(imaps=NONE, imap=NONE)) == []


def test_each_server_is_tried_once_and_not_too_many() -> None:
    same = Heard(imaps=[Service(0, 0, 993, "imap.example.org")])
    many = Heard(documents=[config(*(server(f"h{n}.example.org") for n in range(50)))] * 2)

    assert [host for _, host in where(same)].count("imap.example.org") == 2  # the other one is port 143
    assert len(found(many)) == 12


SERVICES = st.lists(
    st.builds(Service, st.integers(0, 3), st.integers(0, 50), st.just(993), st.sampled_from("abcdefgh")),
    max_size=8,
    unique_by=lambda one: one.host,
)


@settings(deadline=None)
@given(SERVICES, st.lists(st.floats(0, 1, exclude_max=True), min_size=8, max_size=8))
def test_lower_priorities_come_first_and_nobody_is_left_out(
    services: list[Service], rolls: list[float]
) -> None:
    turns = in_turn(services, iter(rolls).__next__)

    assert sorted(turns, key=lambda one: one.host) == sorted(services, key=lambda one: one.host)
    assert [one.priority for one in turns] == sorted(one.priority for one in services)


def test_of_one_priority_the_weights_say_how_often_a_server_is_first() -> None:
    services = [Service(1, 3, 993, "three"), Service(1, 1, 993, "one"), Service(1, 0, 993, "none")]
    rolls = [n / 100 for n in range(100)]

    first = [in_turn(services, lambda roll=roll: roll)[0].host for roll in rolls]  # type: ignore[misc]

    assert {host: first.count(host) for host in set(first)} == {"three": 75, "one": 25}


@pytest.mark.parametrize(
    ("address", "written", "meant"),
    [
        ("ann@example.org", "%EMAILADDRESS%", None),
        ("ann@example.org", "%EMAILLOCALPART%", "ann"),
        ("ann@example.org", "%EMAILLOCALPART%@login.%EMAILDOMAIN%", "ann@login.example.org"),
        ("%EMAILDOMAIN%@example.org", "%EMAILLOCALPART%", "%EMAILDOMAIN%"),
        ('"a b"@example.org', "%EMAILLOCALPART%", '"a b"'),
        ("o'neill+x@example.org", "%EMAILLOCALPART%", "o'neill+x"),
    ],
)
def test_placeholders_stand_for_the_address(address: str, written: str, meant: str | None) -> None:
    ((found, takes_password),) = servers(config(server(username=written)), address, "example.org")

    assert found.get("username") == meant
    assert takes_password


@pytest.mark.parametrize(
    "wrong",
    [
        server(socket="plain"),
        server(kind="pop3"),
        server(port="0"),
        server(port="65536"),
        server(port="99 3"),
        server(host=""),
        server(host="127.0.0.1"),
        server(host="a..b"),
        server(host="mail.example.org/x"),
        server(username="a&#10;b LOGIN"),
        "<incomingServer type='imap'/>",
    ],
)
def test_a_server_that_makes_no_sense_is_passed_over(wrong: str) -> None:
    good = server("good.example.org", "143", "STARTTLS")

    told = servers(config(wrong, good), "ann@example.org", "example.org")

    assert [one["host"] for one, _ in told] == ["good.example.org"]
    assert told[0][0]["security"] == "starttls"


def test_a_server_that_takes_only_oauth_is_told_so_and_gets_no_password() -> None:
    heard = Heard(documents=[config(server(ways="<authentication>OAuth2</authentication>"))])

    assert isinstance(found(heard)[0].refusal, AppPassword)


LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    b"<clientConfig>&b;</clientConfig>"
)
FILE = b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><clientConfig>&f;</clientConfig>'


@pytest.mark.parametrize(
    "raw",
    [
        LAUGHS,
        FILE,
        FILE.decode().encode("utf-16"),
        b'<?xml version="1.0" encoding="utf-16"?>' + FILE,
        b"<!doctype html><p>nothing here</p>",
        b"",
        b"\xff\xfe\x00",
        b"<clientConfig>",
        b"<clientConfig>&undeclared;</clientConfig>",
        config(server()) + b" " * autoconfig.LARGEST,
    ],
)
def test_a_document_that_declares_entities_or_is_none_is_not_read(raw: bytes) -> None:
    with pytest.raises(BadConfig):
        servers(raw, "ann@example.org", "example.org")
    assert {one.found_by for one in found(Heard(documents=[raw]))} == {FoundBy.GUESS}


def test_no_document_takes_long_to_read_however_deep_it_is() -> None:
    deep = b"<a>" * 9000 + b"</a>" * 9000

    assert servers(deep, "ann@example.org", "example.org") == []
    assert seconds(lambda: servers(deep, "ann@example.org", "example.org")) < 1


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_whatever_is_answered_is_read_or_refused(raw: bytes) -> None:
    for document in (raw, config().replace(b"<emailProvider", raw + b"<emailProvider")):
        with suppress(BadConfig):
            assert len(servers(document, "ann@example.org", "example.org")) <= autoconfig.MOST
