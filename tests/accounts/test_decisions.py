"""The decisions about accounts, which need neither clock nor database."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from costs import seconds
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.accounts import due
from postroom.accounts.guess import BadAddress, NoImap, by_table, domain_of, normal_address, usual
from postroom.accounts.model import Account, AccountState, Scope
from postroom.accounts.scope import BadPattern, matches, wants
from postroom.accounts.status import status
from postroom.ids import AccountId, TenantId
from postroom.providers.model import AppPassword

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
EVERY = timedelta(minutes=15)
ROLLS = st.floats(0, 1)


@settings(deadline=None)
@given(ROLLS)
def test_after_a_success_the_next_sync_is_one_interval_away_give_or_take_a_tenth(roll: float) -> None:
    pause = due.after_success(EVERY, roll)

    assert EVERY * 0.9 - timedelta(seconds=1) <= pause <= EVERY * 1.1 + timedelta(seconds=1)


@settings(deadline=None)
@given(st.integers(1, 1000), ROLLS)
def test_failures_in_a_row_back_off_and_never_for_ever(failures: int, roll: float) -> None:
    pause = due.after_failure(EVERY, failures, None, roll)

    assert due.FIRST_RETRY <= pause <= due.LONGEST_BACKOFF * 1.25
    assert pause <= due.after_failure(EVERY, failures + 1, None, roll)


@settings(deadline=None)
@given(st.timedeltas(timedelta(), timedelta(days=2)), st.integers(1, 50), ROLLS)
def test_nobody_comes_back_before_the_server_allows_it(wait: timedelta, failures: int, roll: float) -> None:
    assert due.after_failure(EVERY, failures, wait, roll) >= wait


def test_a_mailbox_polled_once_a_day_is_not_polled_more_often_for_having_failed_long() -> None:
    day = timedelta(days=1)

    assert due.after_failure(day, 100, None, 0) == day


@pytest.mark.parametrize(
    ("pattern", "path", "wanted"),
    [
        (None, "anything", True),
        ("INBOX*", "INBOX/Lists", True),
        ("inbox", "INBOX", True),
        ("INBOX", "Inbox", True),
        ("sent", "Sent", False),
        ("INBOX,Sent", "Sent", True),
        ("-Trash,-Spam*", "Spam/old", False),
        ("-Trash,-Spam*", "Archive", True),
        ("Lists/*,-Lists/noise", "Lists/noise", False),
        ("?rchive", "Archive", True),
        ("Inboxes", "Inboxes", True),
        ("[Gmail]/*", "[Gmail]/All Mail", True),
    ],
)
def test_a_pattern_chooses_folders(pattern: str | None, path: str, *, wanted: bool) -> None:
    assert wants(Scope(folders=pattern), path) is wanted


def test_an_empty_pattern_says_so() -> None:
    for empty in ("", " , ", "-"):
        with pytest.raises(BadPattern):
            wants(Scope(folders=empty), "INBOX")


def test_no_pattern_takes_long_whatever_the_name() -> None:
    def cost(length: int) -> float:
        return seconds(lambda: matches("*a" * 20 + "b", "a" * length))

    assert not matches("*a" * 20 + "b", "a" * 1000)
    assert cost(8000) < 40 * max(cost(1000), 1e-4)


@pytest.mark.parametrize(
    ("address", "host", "username"),
    [
        ("ann@gmail.com", "imap.gmail.com", None),
        ("ann@gmx.de", "imap.gmx.net", None),
        ("ann@icloud.com", "imap.mail.me.com", "ann"),
        ("ann@proton.me", "127.0.0.1", None),
    ],
)
def test_large_providers_are_known(address: str, host: str, username: str | None) -> None:
    settings = by_table(address)

    assert settings is not None
    assert settings["host"] == host
    assert settings.get("username") == username


def test_other_domains_are_tried_by_the_usual_names_always_encrypted() -> None:
    assert by_table("ann@example.org") is None
    guessed = usual("example.org")

    assert guessed[0] == {"host": "imap.example.org", "port": 993, "security": "tls"}
    assert {one["security"] for one in guessed} == {"tls", "starttls"}


def test_where_no_password_can_work_none_is_sent() -> None:
    with pytest.raises(AppPassword, match="OAuth"):
        by_table("ann@hotmail.com")
    with pytest.raises(NoImap, match="offers no IMAP"):
        by_table("ann@tuta.com")


@pytest.mark.parametrize(
    "text",
    ["", "ann", "ann@", "@x.org", "ann@localhost", "ann@10.0.0.1:80", "ann@a/b.org", "ann@xn\u2260.org"],
)
def test_what_is_no_address_is_not_guessed_about(text: str) -> None:
    with pytest.raises(BadAddress):
        by_table(normal_address(text))


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        ("ann@B\u00fccher.example", "xn--bcher-kva.example"),
        ("ann@stra\u00dfe.example", "xn--strae-oqa.example"),  # not strasse.example, which is another's
        ("ann@xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("o'neill+lists@example.org", "example.org"),
        ('"a@b"@example.org', "example.org"),
    ],
)
def test_a_domain_is_known_by_its_name_in_the_dns(address: str, domain: str) -> None:
    assert domain_of(normal_address(address)) == domain


def test_an_address_is_stored_in_one_way() -> None:
    assert normal_address("  Ann@EXAMPLE.org ") == "Ann@example.org"
    for wrong in ("a b@example.org", "a\n@example.org", "x" * 255):
        with pytest.raises(BadAddress):
            normal_address(wrong)


ACCOUNT = Account(
    tenant_id=TenantId(1),
    id=AccountId(1),
    public_id=UUID(int=1),
    address="ann@example.org",
    provider="imap",
    settings={},
    scope=Scope(),
    state=AccountState.ACTIVE,
    reason=None,
    poll_every=None,
    next_sync_at=NOW,
    sync_started_at=None,
    last_sync_at=None,
    last_sync_status=None,
    last_sync_error=None,
    sync_count=0,
    failures=0,
    verified_fresh_at=None,
    compared_at=None,
    created_at=NOW,
)


def test_status_tells_a_running_sync_from_one_that_was_killed() -> None:
    running = replace(ACCOUNT, sync_started_at=NOW, last_sync_status="failed")

    assert status(ACCOUNT).last_sync_status is None
    assert (status(running).is_syncing, status(running).last_sync_status) == (True, "in_progress")
    killed = status(running, leased=False)
    assert (killed.is_syncing, killed.last_sync_status) == (False, "failed")


def test_an_account_that_is_not_polled_has_no_next_sync() -> None:
    assert status(ACCOUNT).next_sync_at == NOW
    assert status(replace(ACCOUNT, state=AccountState.PAUSED)).next_sync_at is None
    assert status(replace(ACCOUNT, state=AccountState.REAUTH_REQUIRED)).next_sync_at is None
