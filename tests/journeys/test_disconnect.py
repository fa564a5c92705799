"""A mailbox that is disconnected leaves nothing but what the log promises to keep."""

import asyncio
import base64
import json
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest
from cli.conftest import Cli
from servers.bearing import Mail
from servers.dumping import TABLES, Dump, dumped

pytestmark = pytest.mark.slow

LAST = "Ctrl-C stops everything."
MARK = "qzx"
"""How every word begins that is nowhere else."""
SPOKEN = {
    "subject": f"{MARK}subject",
    "from": f"{MARK}sender@sender.example",
    "name": f"{MARK}name",
    "to": f"{MARK}receiver@receiver.example",
    "body": f"{MARK}body",
    "html": f"{MARK}html",
    "file": f"{MARK}file",
    "content": f"{MARK}attached and more of it",
    "message id": f"{MARK}id@sender.example",
    "reference": f"{MARK}before@sender.example",
    "header": f"{MARK}header",
    "folder": f"{MARK}folder",
    "keyword": f"{MARK}keyword",
    "large": f"{MARK}large",
}
SHARED = b"Subject: of both qzxshared\r\nMessage-ID: <both@sender.example>\r\n\r\nqzxshared, too\r\n"
FULL = """\
Subject: {subject}
From: "{name}" <{from}>
To: <{to}>
Message-ID: <{message id}>
In-Reply-To: <{reference}>
References: <{reference}>
X-Whatever: {header}
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: multipart/alternative; boundary=c

--c
Content-Type: text/plain

{body}

--c
Content-Type: text/html

<p>{html}</p>

--c--
--b
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename={file}.bin

{encoded}
--b--
"""


@dataclass
class Up:
    """`postroom up`, and what it shows whoever has started it."""

    client: httpx2.AsyncClient
    data: Path
    shown: list[str]

    async def done(self, path: str) -> dict[str, Any]:
        """A job that this starts, at its end."""
        answer = await self.client.post(path)
        assert answer.status_code == 202, answer.text
        return await self.followed(answer.headers["Location"])

    async def followed(self, job: str) -> dict[str, Any]:
        async with self.client.stream("GET", f"{job}/events") as events:
            async for _ in events.aiter_lines():
                pass
        found: dict[str, Any] = (await self.client.get(job)).json()
        return found

    async def connected(self, wanted: dict[str, Any]) -> str:
        answer = await self.client.post("/v1/accounts", json=wanted)
        assert answer.status_code == 201, answer.text
        path: str = answer.headers["Location"]
        return path


@asynccontextmanager
async def up(cli: Cli) -> AsyncIterator[Up]:
    with cli.running("up", "--port", "0") as process:
        shown: list[str] = []
        await asyncio.to_thread(_listen, process, shown)
        found = re.search(r"http://127\.0\.0\.1:\d+", "".join(shown))
        assert found is not None
        headers = {"Authorization": f"Bearer {(cli.data / 'api.key').read_text().strip()}"}
        limit = httpx2.Timeout(60)
        async with httpx2.AsyncClient(base_url=found[0], headers=headers, timeout=limit) as client:
            running = Up(client, cli.data, shown)
            yield running
        process.terminate()
        shown += await asyncio.to_thread(process.communicate)


def _listen(process: "subprocess.Popen[str]", shown: list[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        shown.append(line)
        if LAST in line:
            return
    raise AssertionError(shown)


def full() -> bytes:
    encoded = base64.b64encode(SPOKEN["content"].encode()).decode()
    return FULL.format(**SPOKEN, encoded=encoded).replace("\n", "\r\n").encode()


def filled(mail: Mail) -> str:
    """The mailbox that goes; returns the other one's user, who has one mail that lies here, too."""
    large = SPOKEN["large"].encode() + b" " + b"x" * (6 << 20)
    mail.dovecot.append(mail.user, "INBOX", [full(), SHARED, b"Subject: large\r\n\r\n" + large + b"\r\n"])
    mail.dovecot.append(mail.user, SPOKEN["folder"], [full().replace(b"Subject: ", b"Subject: Re: ")])
    mail.dovecot.doveadm("flags", "add", "-u", mail.user, SPOKEN["keyword"], "mailbox", "INBOX", "all")
    other = mail.dovecot.user("other")
    mail.dovecot.append(other, "INBOX", [SHARED, b"Subject: of the other\r\n\r\nhello\r\n"])
    return other


async def analyzed(dsn: str) -> None:
    """As autovacuum does, which leaves parents of partitions: then PostgreSQL keeps values as statistics."""
    conn = await asyncpg.connect(dsn)
    for row in await conn.fetch(TABLES):
        await conn.execute(f'ANALYZE postroom."{row["name"]}"')
    await conn.close()


def missing(dump: Dump, words: dict[str, str]) -> list[str]:
    return [name for name, word in words.items() if not dump.tables(word)]


def left(dump: Dump, words: dict[str, str]) -> dict[str, set[str]]:
    return {name: tables for name, word in words.items() if (tables := dump.tables(word))}


def written(running: Up) -> dict[str, bytes]:
    """Its log and every other file in its folder; and the terminal, which calls a mailbox by its address."""
    files = {path.name: path.read_bytes() for path in running.data.rglob("*") if path.is_file()}
    assert b"accounts.grant_left" in files["postroom.log"]
    return {**files, "terminal": re.sub(r"\S+@\S+", "", "".join(running.shown)).encode()}


def installation(data: Path, dsn: str, mail: Mail) -> Cli:
    """With a client, so that consents can be asked for."""
    tokens = mail.tokens
    client = {
        "token_url": tokens.url(),
        "client_id": tokens.client_id,
        "authorization_url": tokens.url("/authorize"),
        "server": f"imap://{mail.dovecot.host}:{mail.dovecot.port}",
        "starttls": "off",
    }
    settings = {
        "POSTROOM_DATABASE_URL": dsn,
        "POSTROOM_PUBLIC_URL": "http://postroom.test",
        "POSTROOM_OAUTH_CLIENTS": json.dumps({"mail": client}),
    }
    return Cli(data, settings)


async def test_nothing_is_left_of_a_mailbox_that_was_disconnected(
    dsn: str, mail: Mail, tmp_path: Path
) -> None:
    other = filled(mail)
    server = f"imap://{mail.dovecot.host}:{mail.dovecot.port}"
    plain = {"server": server, "starttls": "off"}
    secrets = {"first refresh token": mail.consent.current, "client secret": mail.tokens.client_secret or ""}
    words = {**SPOKEN, "address": f"{mail.user}@{MARK}.example"}
    async with up(installation(tmp_path / "data", dsn, mail)) as running:
        asked = {"client": "mail", "address": words["address"]}  # of somebody who never comes back
        assert (await running.client.post("/v1/accounts/oauth/auth-url", json=asked)).status_code == 201
        gone = await running.connected(
            {"address": words["address"], "username": mail.user, **plain, "oauth": mail.oauth()}
        )
        stays = await running.connected(
            {"address": f"{other}@example.org", "username": other, **plain, "password": mail.dovecot.password}
        )
        for path in (gone, stays):
            assert (await running.done(f"{path}/sync"))["state"] == "completed"
        await running.client.get("/v1/search", params={"q": SPOKEN["body"]})
        mail.consent.is_revoked = True
        mail.tokens.expire()
        with suppress(subprocess.CalledProcessError):  # there may be none
            mail.dovecot.doveadm("kick", mail.user)  # the session that listens
        failed = await running.done(f"{gone}/sync")
        secrets |= {"refresh token": mail.consent.current}
        secrets |= {f"spent token {n}": token for n, token in enumerate(mail.consent.spent)}
        await analyzed(dsn)
        before = await dumped(dsn)
        removal = await running.client.delete(gone)
        if removal.status_code == 202:
            await running.followed(removal.headers["Location"])
        after = await dumped(dsn)
        kept = (await running.client.get("/v1/search", params={"q": f"{MARK}shared"})).json()["items"]
        raw = await running.client.get(f"/v1/mail/messages/{kept[0]['message']['id']}/raw")
        status = (await running.client.get(gone)).status_code

    assert failed["state"] == "failed"
    assert missing(before, words) == []
    assert left(before, secrets) == {}
    remains = left(after, {**words, **secrets})
    assert remains.keys() == {"keyword"}  # which flags a message had is what its events say
    assert all("events_event" in table for table in remains["keyword"])
    assert [len(kept), raw.content] == [1, SHARED]
    assert status == 404
    assert left(Dump(written(running)), {**words, **secrets}) == {}
