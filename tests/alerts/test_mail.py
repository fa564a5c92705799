"""The operator is told by mail."""

from email import message_from_bytes
from email.policy import default

import pytest
from net.test_smtp import serving
from servers.tenants import ANNS, ONE

from postroom.accounts import change
from postroom.accounts import store as accounts
from postroom.alerts import read
from postroom.alerts.mail import ByMail
from postroom.alerts.model import Channel
from postroom.alerts.tell import tell
from postroom.alerts.ways import ways
from postroom.cli.given import BadSetting, read_settings
from postroom.db.pool import Database
from postroom.net.smtp import Security, Server

NEXT = "UPDATE alerts_message SET next_at = now()"


async def happens(db: Database, kind: str) -> None:
    async with db.transaction(ONE) as conn:
        await change.tell(conn, await accounts.get_by_id(conn, ONE, ANNS), kind)
    await read.look(db, [Channel.MAIL])


@pytest.mark.usefixtures("tenants")
async def test_a_mail_comes_when_it_begins_and_one_when_it_is_over(db: Database) -> None:
    await happens(db, "accounts.connected")
    async with serving() as place:
        settings = read_settings(
            None, None, alerts_mail="ops@example.org", alerts_smtp=f"smtp+plain://127.0.0.1:{place.port}"
        )
        await happens(db, "accounts.stale")
        await tell(db, ways(settings))
        await happens(db, "accounts.recovered")
        await tell(db, ways(settings))
        await tell(db, ways(settings))

    opened, closed = (message_from_bytes(mail, policy=default) for mail in place.mails)
    assert [mail["Subject"] for mail in (opened, closed)] == [
        "postroom: an account is stale",
        "postroom: over: an account is stale",
    ]
    assert (opened["To"], opened["From"]) == ("ops@example.org", "ops@example.org")
    assert opened["Auto-Submitted"] == "auto-generated"
    assert opened["Message-ID"] != closed["Message-ID"]
    assert closed["In-Reply-To"] == opened["Message-ID"], "mail programs show both together"
    assert "kind: accounts.stale" in opened.get_content()
    assert "closed: " in closed.get_content()
    assert "ann@example.org" not in opened.as_string(), "no address of a mailbox leaves"


@pytest.mark.usefixtures("tenants")
async def test_a_mail_that_was_not_taken_comes_again_as_the_same(db: Database) -> None:
    await happens(db, "accounts.connected")
    await happens(db, "accounts.stale")
    answers = {".": b"451 later\r\n"}
    async with serving(answers=answers) as place:
        settings = read_settings(
            None, None, alerts_mail="ops@example.org", alerts_smtp=f"smtp+plain://127.0.0.1:{place.port}"
        )
        for _ in range(2):
            await tell(db, ways(settings))
            async with db.transaction(ONE) as conn:
                await conn.execute(NEXT)

    first, second = (message_from_bytes(mail, policy=default)["Message-ID"] for mail in place.mails)
    assert first == second


def test_a_server_is_read_from_its_url() -> None:
    told = {"alerts_mail": "ops@example.org", "alerts_from": "postroom@example.org"}
    [way] = ways(read_settings(None, None, alerts_smtp="smtp://me%40x:s%2Fecret@mail.example.org", **told))

    assert isinstance(way, ByMail)
    assert way.server == Server("mail.example.org", 587, Security.STARTTLS, "me@x", "s/ecret")
    assert way.sender == "postroom@example.org"
    assert "s/ecret" not in repr(way)


@pytest.mark.parametrize(
    "wrong",
    [
        {"alerts_mail": "ops@example.org"},
        {"alerts_smtp": "smtps://mail.example.org"},
        {"alerts_mail": "ops", "alerts_smtp": "smtps://mail.example.org"},
        {"alerts_mail": "ops@example.org", "alerts_smtp": "mail.example.org"},
        {"alerts_mail": "ops@example.org", "alerts_smtp": "smtp+plain://me:secret@mail.example.org"},
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(BadSetting, match="POSTROOM_ALERTS") as raised:
        read_settings(None, None, **wrong)

    assert "secret" not in str(raised.value)
