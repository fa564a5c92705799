"""Logging in by access token, or by a password that is proven: what is sent, and what refusals are called."""

import socket
from pathlib import Path

import pytest

from postroom.errors import PostroomError
from postroom.lab.certificate import make_certificate
from postroom.lab.server import TOKEN, LabServer, serve
from postroom.net.egress import Egress
from postroom.providers.imap.provider import ImapProvider
from postroom.providers.model import AppPassword, Login, NotTrusted, TlsRefused, TokenRefused, WrongPassword

PROVIDER = ImapProvider(Egress(private_allowed=True))
SECRETS = (TOKEN, "open sesame")


def login(server: LabServer, secret: str = TOKEN, **changes: object) -> Login:
    settings = {"host": server.host, "port": server.port, "security": "plain", "auth": "oauth2"}
    return Login(server.address, {**settings, **changes}, secret)


async def failure(asked: Login) -> PostroomError:
    with pytest.raises(PostroomError) as caught:
        async with PROVIDER.open(asked):
            pass
    assert not any(secret in f"{caught.value} {caught.value.data} {asked}" for secret in SECRETS)
    return caught.value


@pytest.mark.parametrize("mechanism", [None, "OAUTHBEARER", "XOAUTH2"])
async def test_a_token_leads_in(mechanism: str | None) -> None:
    async with (
        serve(messages=2, offers="oauth") as server,
        PROVIDER.open(login(server, mechanism=mechanism)) as mailbox,
    ):
        assert await mailbox.folders()


async def test_a_token_leads_in_over_tls(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    async with serve(messages=2, offers="oauth", certificate=certificate) as server:
        settings = {"security": "starttls", "ca_file": str(certificate.certificate)}
        async with PROVIDER.open(login(server, **settings)) as mailbox:
            assert await mailbox.folders()


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
async def test_a_token_that_is_not_accepted_can_be_told_from_every_other_error(mechanism: str) -> None:
    async with serve(messages=2, offers="oauth") as server:
        expired = await failure(login(server, "expired", mechanism=mechanism))
        server.faults.switch_on("token-refused")
        fresh = await failure(login(server, mechanism=mechanism))

    for error in (expired, fresh):
        assert type(error) is TokenRefused
        assert error.code == "providers.token_refused"
        assert error.data["status"] == "invalid_token"


@pytest.mark.parametrize("token", ["", "two words", "a\r\nb", "tökèn"])
async def test_what_is_no_token_is_refused_before_it_is_sent(token: str) -> None:
    async with serve(messages=2, offers="oauth") as server:
        assert type(await failure(login(server, token))) is TokenRefused


async def test_a_server_that_takes_no_tokens_gets_none() -> None:
    async with serve(messages=2) as server:
        assert type(await failure(login(server))) is AppPassword


async def test_a_token_does_not_leave_this_machine_without_tls() -> None:
    async with serve(messages=2, offers="oauth", host="0.0.0.0") as server:
        error = await failure(login(server, host=own_address()))

    assert type(error) is TlsRefused
    assert "no access token was sent" in str(error)


def own_address() -> str:
    """What others call this machine. Nothing is sent to find out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no network")
        address = str(probe.getsockname()[0])
    if address.startswith("127."):
        pytest.skip("this machine has no network")
    return address


async def test_a_password_is_proven_in_the_clear_and_sent_over_tls(tmp_path: Path) -> None:
    """A fault tells which it was."""
    certificate = make_certificate(tmp_path)
    async with serve(messages=2, offers="scram", certificate=certificate, faults=["scram-forged"]) as server:
        tls = {"security": "starttls", "ca_file": str(certificate.certificate)}
        async with PROVIDER.open(login(server, server.password, auth="password", **tls)) as mailbox:
            assert await mailbox.folders()
        assert type(await failure(login(server, server.password, auth="password"))) is NotTrusted
        async with PROVIDER.open(login(server, server.password, auth=None, mechanism="PLAIN")) as mailbox:
            assert await mailbox.folders()


@pytest.mark.parametrize("fault", ["scram-forged", "scram-million"])
async def test_a_server_that_cannot_prove_itself_is_not_trusted(fault: str) -> None:
    async with serve(messages=2, offers="scram", faults=[fault]) as server:
        error = await failure(login(server, server.password, auth="password"))

    assert type(error) is NotTrusted


async def test_a_wrong_password_is_one_by_scram_too() -> None:
    async with serve(messages=2, offers="scram") as server:
        assert type(await failure(login(server, "wrong", auth="password"))) is WrongPassword
