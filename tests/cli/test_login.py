"""`postroom login`."""

import asyncio
import json
import re
import subprocess

import httpx2
from servers.issuer import Issuer

from .conftest import Cli


def test_a_link_leads_to_where_the_api_is(cli: Cli) -> None:
    said = cli("login")
    told = cli("login", "--port", "9000", "--host", "0.0.0.0", "--json").json

    assert re.fullmatch(r"http://127\.0\.0\.1:8025/v1/people/login\?link=pl_\w{43}\n", said.out)
    assert "10 minutes" in said.err
    assert told["url"].startswith("http://127.0.0.1:9000/v1/people/login?link=pl_")
    assert told["expires_at"]


def test_behind_a_proxy_a_link_leads_to_what_people_see(cli: Cli) -> None:
    told = cli("login", "--json", POSTROOM_PUBLIC_URL="https://mail.example.org/").json

    assert told["url"].startswith("https://mail.example.org/v1/people/login?link=")


async def test_a_link_of_the_command_line_opens_the_api_in_a_browser(cli: Cli) -> None:
    with cli.running("serve", "--port", "0") as serve:
        api = await address(serve)
        url = (await asyncio.to_thread(cli, "login", "--port", api.rpartition(":")[2])).out.strip()
        async with httpx2.AsyncClient(base_url=api, trust_env=False, timeout=20) as browser:
            assert url.startswith(api)
            assert (await browser.get(url)).status_code == 200
            entered = await browser.post(url, headers={"Origin": api})
            me = (await browser.get("/v1/people/me")).json()
            again = await browser.post(url, headers={"Origin": api})

    assert entered.status_code == 303
    assert me["may_approve"] is True
    assert again.status_code == 401


async def test_the_api_believes_the_issuers_of_its_settings(cli: Cli) -> None:
    async with Issuer().running() as issuer:
        trusted = json.dumps([issuer.settings().model_dump(mode="json")])
        with cli.running("serve", "--port", "0", POSTROOM_ISSUERS=trusted) as serve:
            api = await address(serve)
            await issuer.was_asked.wait()  # before anybody came
            headers = {"Authorization": f"Bearer {issuer.token(o={'id': 'org_1', 'slg': 'acme'})}"}
            async with httpx2.AsyncClient(base_url=api, trust_env=False, timeout=20) as client:
                me = await client.get("/v1/people/me", headers=headers)

    assert me.json()["tenant"]["name"] == "acme"


async def address(serve: "subprocess.Popen[str]") -> str:
    """Where it says that it answers."""
    assert serve.stdout is not None
    said = await asyncio.to_thread(serve.stdout.readline)
    found = re.search(r"http://[\d.:]+", said)
    assert found, said
    return found[0]
