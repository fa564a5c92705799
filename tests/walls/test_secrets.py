"""A life of an installation, with secrets and mail that would be known again; and nowhere they turn up."""

import asyncio
import io
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import asyncpg
import httpx2
import pytest
import structlog
from fastapi import FastAPI
from servers.api import key_of
from servers.bearing import OAUTH
from servers.oauth import TokenServer, token_server
from servers.tenants import ONE
from walls.canaries import dump, found_in
from walls.echoing import WAYS, echoing

from postroom import telemetry
from postroom.api.app import create_app
from postroom.api.live import live
from postroom.db.listen import Hints, open_hints
from postroom.db.pool import Database
from postroom.executor.handlers import Work
from postroom.executor.run import executing
from postroom.lab.accounts import address
from postroom.lab.server import LabServer, serve
from postroom.net.egress import Egress
from postroom.people import keys, sessions
from postroom.providers.registry import Registry
from postroom.settings import Settings
from postroom.sync.perform import Means
from postroom.vault.seal import Key, Vault

A_MOMENT = 0.05
HERE = "http://postroom.test"
NOWHERE = "postgresql://somebody:xkdatabasepw7@/db?host=/nowhere"
SECRET_KEY = "xksecretkey7 of this installation"
SECRETS = {
    "password": "open sesame",  # of lab servers
    "wrong password": 'xkwrong pw7 "\\',
    "password in a wrong place": "xkmisplaced7",
    "client secret": "xkclient secret7 + / =",
    "password of the database": "xkdatabasepw7",
    "secret key": SECRET_KEY,
}
CONTENTS = {
    "subject": "xksubject7",
    "text": "xkwords7",
    "HTML": "xkmarkup7",
    "sender": "xksender7",
    "sender's name": "xkname7",
    "recipient": "xkrecipient7",
    "file name": "xkfile7",
    "file": "xkcontent7",
    "header": "xkheader7",
    "Message-ID": "xkidentity7",
}
OF_MAIL = ("mail_", "search_", "blobs_")
"""Tables that are there to hold it."""
POISON = """
    CREATE FUNCTION postroom.poison() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION USING MESSAGE = {says}, ERRCODE = '{code}', DETAIL = 'It has ' || NEW.{column};
    END $$;
    CREATE TRIGGER poison BEFORE INSERT ON postroom.{table} FOR EACH ROW
        WHEN (NEW.{column} LIKE '%poison%') EXECUTE FUNCTION postroom.poison()
"""
"""PostgreSQL does not take some rows, and quotes them."""
QUOTING = "format('cannot take \"%s\"', NEW.body)"
HEALED = "DROP FUNCTION postroom.poison() CASCADE"


def letter(more: str = "", boundary: str = "B") -> bytes:
    """A mail with a canary in every place; `more` goes with its text."""
    return (
        "Message-ID: <xkidentity7@example.org>\r\nFrom: xkname7 <xksender7@example.org>\r\n"
        f"To: <xkrecipient7@example.org>\r\nSubject: xksubject7 {more}\r\nX-Own: xkheader7\r\n"
        "List-Id: <xkheader7.example.org>\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/mixed; boundary=B\r\n\r\n"
        f"--{boundary}\r\nContent-Type: text/plain\r\n\r\nxkwords7 {more}\r\n"
        f"--{boundary}\r\nContent-Type: text/html\r\n\r\n<p>xkmarkup7 {more}</p>\r\n"
        f"--{boundary}\r\nContent-Type: application/pdf\r\n"
        "Content-Disposition: attachment; filename=xkfile7.pdf\r\n\r\nxkcontent7\r\n"
        f"--{boundary}--\r\n"
    ).encode()


BROKEN = (
    letter(boundary="C"),
    letter().replace(b"text/plain", b"text/plain; charset=xkwords7"),
    letter("\x00 \ud83d".encode("utf-8", "replace").decode()),
    b"xksubject7",
    b"\r\n\r\nxkwords7",
    b"Subject: =?xkheader7?B?!!!?=\r\nDate: xkheader7\r\nFrom: xksender7\r\n\r\nxkwords7",
)


@dataclass
class Life:
    """What happens in an installation, and every answer that it gave."""

    db: Database
    dsn: str
    vault: Vault
    hints: Hints
    app: FastAPI
    lab: LabServer
    tokens: TokenServer
    secrets: dict[str, str] = field(default_factory=lambda: dict(SECRETS))
    answers: list[tuple[str, int, bytes]] = field(default_factory=list)

    async def ask(self, method: str, path: str, app: FastAPI | None = None, **given: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.secrets['API key']}", **given.pop("headers", {})}
        transport = httpx2.ASGITransport(app or self.app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url=HERE, headers=headers) as client:
            answer = await client.request(method, path, **given)
        told = repr(sorted(answer.headers.items())).encode() + answer.content
        self.answers.append((f"{method} {path}", answer.status_code, told))
        return answer

    def wish(self, **more: Any) -> dict[str, Any]:
        server = f"imap://{self.lab.host}:{self.lab.port}"
        return {"address": self.lab.address, "server": server, "starttls": "off"} | more

    async def people(self) -> None:
        """Keys and sessions are made, shown, shown wrongly and ended."""
        self.secrets["API key"] = await key_of(self.db, ONE)
        made = await self.ask("POST", "/v1/people/keys", json={"name": "crm", "scopes": ["read"]})
        self.secrets["new API key"] = made.json()["key"]
        link = (await sessions.new_link(self.db, ONE)).text
        entered = await self.ask("POST", "/v1/people/login", params={"link": link}, headers={"Origin": HERE})
        session = entered.headers["set-cookie"].partition("=")[2].partition(";")[0]
        assert session.startswith("ps_")
        # These two answers are there to tell them.
        self.answers = [each for each in self.answers if each[0] not in {"POST /v1/people/keys", LOGIN}]
        self.secrets |= {"link": link, "session": session}
        own = {"Authorization": "", "Cookie": f"postroom_session={session}"}
        for headers in (own, own | {"Origin": HERE}, own | {"Origin": "https://evil.example"}):
            await self.ask("GET", "/v1/people/me", headers=headers)
            await self.ask("POST", "/v1/people/keys", headers=headers, json={})
        await self.ask("POST", "/v1/people/login", params={"link": link}, headers={"Origin": HERE})
        for path in ("/v1/people/keys", "/v1/people/sessions", f"/v1/mail/messages?key={session}"):
            await self.ask("GET", path)
        for shown in (f"Basic {self.secrets['API key']}", f"Bearer {self.secrets['API key']}x", link):
            await self.ask("GET", f"/v1/nothing/{self.secrets['API key']}", headers={"Authorization": shown})

    async def connecting(self) -> None:
        """Mailboxes are connected, after everything that can be wrong with that."""
        wrong, misplaced = self.secrets["wrong password"], self.secrets["password in a wrong place"]
        await self.ask("POST", "/v1/accounts", json=self.wish(password=wrong))
        for body in (
            self.wish(password={"deep": misplaced}),
            self.wish(passwort=misplaced),
            self.wish(password="x", server=f"imap://robin:{misplaced}@{self.lab.host}:{self.lab.port}"),
            self.wish(password="x", folders=misplaced * 300),
            self.wish(oauth={"refresh_token": misplaced, "client_secret": misplaced, "what": misplaced}),
            self.wish(oauth={"refresh_token": misplaced, "client": "none"}),
            self.wish(oauth={"refresh_token": [misplaced]}, password=misplaced),
        ):
            assert (await self.ask("POST", "/v1/accounts", json=body)).status_code in {400, 422}
        for content in (f'{{"password": "{misplaced}"', f'["{misplaced}"]', misplaced):
            await self.ask("POST", "/v1/accounts", content=content.encode())
        for way, words in WAYS.items():
            for says in ("IMAP4rev1", "IMAP4rev1 AUTH=PLAIN", "IMAP4rev1 AUTH=PLAIN SASL-IR"):
                async with echoing(words, says=says) as port:
                    wish = self.wish(password=wrong, server=f"imap://127.0.0.1:{port}")
                    answer = await self.ask("POST", "/v1/accounts", json=wish)
                    assert answer.status_code >= 400, (way, says)
        answer = await self.ask("POST", "/v1/accounts", json=self.wish(password=self.lab.password))
        assert answer.status_code == 201, answer.text
        path = f"/v1/accounts/{answer.json()['account']['id']}"
        await self.ask("PATCH", path, json={"password": wrong})
        await self.ask("PATCH", path, json={"password": misplaced, "oauth": {"refresh_token": misplaced}})
        await self.granted()

    async def granted(self) -> None:
        """A mailbox is connected by a grant, whose tokens expire."""
        consent = self.tokens.consent("robin")
        consent.access = self.lab.tokens  # the lab server takes what the token server gives
        self.secrets["first refresh token"] = consent.current
        wish = self.wish(address=address(1), oauth=self.tokens.oauth(consent))
        answer = await self.ask("POST", "/v1/accounts", json=wish)
        assert answer.status_code == 201, answer.text
        self.secrets["second refresh token"] = consent.current
        self.secrets |= {f"access token {n}": token for n, token in enumerate(sorted(consent.access))}

    async def synced(self) -> None:
        """Every account is synced, as a job."""
        for account in (await self.ask("GET", "/v1/accounts")).json()["items"]:
            answer = await self.ask("POST", f"/v1/accounts/{account['id']}/sync?full=true")
            if answer.status_code == 202:
                await self._tried(answer.json()["id"])

    async def _tried(self, job: str) -> None:
        """Until it is over, or has failed and waits to be tried again; that is left out."""
        async with asyncio.timeout(30):
            state, attempts = "pending", 0
            while state == "running" or (state == "pending" and not attempts):
                await asyncio.sleep(A_MOMENT)
                told = (await self.ask("GET", f"/v1/jobs/{job}")).json()
                state, attempts = told["state"], told["attempts"]
            if state == "pending":
                await self.ask("POST", f"/v1/jobs/{job}/cancel")
            await self.ask("GET", f"/v1/jobs/{job}/events")

    async def copying(self) -> None:
        """Mail is copied: good, broken, and such that our own database would not have it."""
        for number in range(2):
            folder = self.lab.mailbox_of(number).folder("INBOX")
            for raw in (letter(), *BROKEN):
                folder.deliver(raw)
        await self.synced()
        await self._alter(POISON.format(table="mail_text", column="body", code="22000", says=QUOTING))
        self.lab.mailbox.folder("INBOX").deliver(letter("poison"))
        await self.synced()
        await self.reading()
        await self._alter(HEALED)
        for fault in ("login-no", "login-busy", "breaks-on-message", "unavailable-uid", "token-refused"):
            self.lab.faults.switch_on(fault)
            self.lab.mailbox.folder("INBOX").deliver(letter(fault))
            await self._alter(AT_ONCE)
            await self.synced()
            self.lab.faults.switch_off(fault)
        await self._alter(POISON.format(table="mail_attachment", column="name", code="23514", says="'no'"))
        self.lab.mailbox.folder("INBOX").deliver(letter().replace(b"xkfile7", b"xkfile7poison"))
        await self._alter(AT_ONCE)
        await self.synced()

    async def reading(self) -> None:
        """All that is there is looked at."""
        for item in (await self.ask("GET", "/v1/mail/messages?page_size=100")).json()["items"]:
            for more in ("", "/raw", "/html", "/attachments/1"):
                await self.ask("GET", f"/v1/mail/messages/{item['id']}{more}")
        for word in CONTENTS.values():
            await self.ask("GET", "/v1/search", params={"q": word, "facets": "sender"})
            await self.ask("GET", "/v1/search", params={"q": f"in:{word} larger:x"})
            await self.ask("GET", "/v1/mail/messages", params={"from": word, "label": word, "folder": word})
        parked = (await self.ask("GET", "/v1/sync/parked")).json()["items"]
        assert [entry for entry in parked if entry["has_raw"]]
        for entry in parked:
            await self.ask("GET", f"/v1/sync/parked/{entry['id']}")
            await self.ask("POST", f"/v1/sync/parked/{entry['id']}/retry")
        for path in ("/v1/jobs", "/v1/jobs/overview", "/v1/mail/folders", "/v1/mail/threads", "/metrics"):
            await self.ask("GET", path)

    async def troubles(self, slow: FastAPI, away: FastAPI) -> None:
        """Requests that take too long, that meet no database, and that meet a mistake of ours."""
        wish = self.wish(password=self.secrets["password"], address="other@lab.example")
        conn = await asyncpg.connect(self.dsn)
        async with conn.transaction():
            await conn.execute("LOCK TABLE postroom.accounts_account IN ACCESS EXCLUSIVE MODE")
            assert (await self.ask("POST", "/v1/accounts", slow, json=wish)).status_code == 503
        await conn.close()
        for path in ("/v1/mail/messages", "/health/ready", "/metrics"):
            await self.ask("GET", path, away)
        assert (await self.ask("POST", "/v1/accounts", away, json=wish)).status_code == 503
        del self.app.state.desk
        assert (await self.ask("POST", "/v1/accounts", json=wish)).status_code == 500

    async def _alter(self, statement: str) -> None:
        conn = await asyncpg.connect(self.dsn)
        await conn.execute(statement)
        await conn.close()


LOGIN = "POST /v1/people/login"
AT_ONCE = """
    UPDATE postroom.accounts_account SET login_after = NULL, logins = 0, next_sync_at = now();
    UPDATE postroom.sync_parked SET retry_at = now()
"""


@pytest.fixture(params=[False, True], ids=["json", "for people"])
def out(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """All that is logged, with every detail."""
    stream, root = io.StringIO(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    telemetry.set_up(level=logging.DEBUG, stream=stream, for_people=request.param)
    yield stream
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@asynccontextmanager
async def living(db: Database, dsn: str) -> AsyncIterator[tuple[Life, FastAPI, FastAPI]]:
    """An installation; the same in a hurry; and one whose database is away."""
    vault, registry = Vault([Key.derived(SECRET_KEY.encode())]), Registry(Egress(private_allowed=True))
    nowhere = Database(NOWHERE, size=2, role=None)
    async with (
        open_hints(db) as hints,
        live(db, hints) as news,
        serve(messages=3, folder_count=2, accounts=2, offers=["oauth", "scram"]) as lab,
        token_server(client_secret=SECRETS["client secret"]) as tokens,
        executing(
            Work(Means(db, vault, registry, oauth=OAUTH), timedelta(minutes=15)),
            hints,
            workers=2,
            patience=timedelta(seconds=1),
            polls=False,
        ),
    ):
        apps = [
            create_app(where, Settings(request_seconds=seconds), vault, registry, news, OAUTH)
            for where, seconds in ((db, 30), (db, 0.1), (nowhere, 30))
        ]
        yield Life(db, dsn, vault, hints, apps[0], lab, tokens), apps[1], apps[2]


def assert_nowhere(place: str, text: bytes, words: Mapping[str, str]) -> None:
    found = found_in(text, words)
    assert not found, "\n".join(f"the {name} stands in {place}: ...{near}..." for name, near in found.items())


@pytest.mark.slow
async def test_no_secret_turns_up_anywhere_and_no_mail_where_it_does_not_belong(
    db: Database, dsn: str, out: io.StringIO
) -> None:
    assert await keys.our_tenant(db) == ONE
    async with living(db, dsn) as (life, slow, away):
        await life.people()
        await life.connecting()
        await life.copying()
        await life.troubles(slow, away)
    tables = await dump(dsn)

    assert len(out.getvalue().splitlines()) > 100
    assert_nowhere("the log", out.getvalue().encode(), life.secrets | CONTENTS)
    for question, status, told in life.answers:
        assert_nowhere(f"the answer to {question}", told, life.secrets)
        if status >= 400:
            assert_nowhere(f"the answer to {question}", told, CONTENTS)
    for name, text in tables.items():
        assert_nowhere(name, text, life.secrets if name.startswith(OF_MAIL) else life.secrets | CONTENTS)
    assert not CONTENTS.keys() - found_in(b"\n".join(tables.values()), CONTENTS).keys() - NOT_KEPT
    assert sum(status < 300 for _, status, _ in life.answers) > 50


NOT_KEPT = {"HTML", "file", "header"}
"""What stands in the compressed bytes of a mail only."""
