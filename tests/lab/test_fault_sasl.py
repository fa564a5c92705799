"""Signing in without sending a password, and the faults of that."""

import json
from base64 import b64decode, b64encode

import pytest
from lab.talk import Talk, signed_in, talk

from postroom.imap.aio import connect
from postroom.imap.connection import State
from postroom.imap.errors import AuthRefused, NotProven
from postroom.lab import LabServer, serve
from postroom.lab.server import TOKEN


async def said(server: LabServer, command: str) -> list[str]:
    async with talk(server) as client:
        await client.hear()
        return await client.ask(command)


def by_token(server: LabServer, token: str = TOKEN) -> str:
    return b64encode(f"user={server.address}\x01auth=Bearer {token}\x01\x01".encode()).decode()


async def test_mechanisms_are_named_before_the_login_and_only_where_they_are_offered() -> None:
    async with serve(messages=0, offers=["scram", "oauth"]) as server, talk(server) as client:
        greeting = (await client.hear()).replace("]", " ").split()
        assert {"AUTH=PLAIN", "AUTH=SCRAM-SHA-256", "AUTH=OAUTHBEARER", "AUTH=XOAUTH2"} <= set(greeting)
        told = await client.ask(f'a LOGIN {server.address} "{server.password}"')
        assert "AUTH=" not in told[-1]
    async with serve(messages=0) as server:
        for mechanism in ("SCRAM-SHA-256", "OAUTHBEARER", "XOAUTH2", "LOGIN", "CRAM-MD5"):
            assert (await said(server, f"a AUTHENTICATE {mechanism} AAAA"))[-1].startswith("a NO")


@pytest.mark.parametrize("offer", ["scram", "oauth"])
async def test_nonsense_is_answered_with_bad(offer: str) -> None:
    mechanism = "SCRAM-SHA-256" if offer == "scram" else "OAUTHBEARER"
    async with serve(messages=0, offers=offer) as server:
        for response in ("?", "AAAA", "="):
            assert (await said(server, f"a AUTHENTICATE {mechanism} {response}"))[-1].startswith("a BAD")


async def test_scram_lets_in_who_knows_the_password_and_nobody_else() -> None:
    async with serve(messages=0, offers="scram") as server, connect(server.host, server.port) as session:
        with pytest.raises(AuthRefused):
            await session.log_in(server.address, "wrong", mechanism="SCRAM-SHA-256")
        with pytest.raises(AuthRefused):
            await session.log_in("nobody@lab.example", server.password, mechanism="SCRAM-SHA-256")
        await session.log_in(server.address, server.password, mechanism="SCRAM-SHA-256")

        assert session.state is State.AUTHENTICATED


@pytest.mark.parametrize("fault", ["scram-forged", "scram-million"])
async def test_a_server_in_between_is_found_out(fault: str) -> None:
    async with (
        serve(messages=0, offers="scram", faults=[fault]) as server,
        connect(server.host, server.port) as session,
    ):
        with pytest.raises(NotProven):
            await session.log_in(server.address, server.password)


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
async def test_a_token_lets_in_until_it_is_taken_back(mechanism: str) -> None:
    async with serve(messages=0, offers="oauth") as server:
        async with connect(server.host, server.port) as session:
            await session.log_in_with_token(server.address, TOKEN, mechanism=mechanism)
            assert session.state is State.AUTHENTICATED
        server.tokens.clear()
        async with connect(server.host, server.port) as session:
            with pytest.raises(AuthRefused) as caught:
                await session.log_in_with_token(server.address, TOKEN, mechanism=mechanism)
            assert caught.value.status == "invalid_token"
            server.tokens.add("another")
            await session.log_in_with_token(server.address, "another", mechanism=mechanism)


async def test_a_token_can_be_refused_though_it_is_fresh() -> None:
    async with serve(messages=0, offers="oauth", faults=["token-refused"]) as server, talk(server) as client:
        await client.hear()
        await client.say(f"a AUTHENTICATE XOAUTH2 {by_token(server)}")
        challenge = await client.hear()
        await client.play("C: \nS: a NO [AUTHENTICATIONFAILED] ...")

    assert json.loads(b64decode(challenge.removeprefix("+ ")))["status"] == "invalid_token"


async def test_who_is_signed_in_cannot_sign_in_again() -> None:
    async with serve(messages=0, offers="oauth") as server, signed_in(server) as client:
        assert isinstance(client, Talk)
        assert (await client.ask(f"a AUTHENTICATE XOAUTH2 {by_token(server)}"))[-1].startswith("a BAD")
