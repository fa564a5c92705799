"""The table of servers that do not do what they announce."""

import pytest

from postroom.imap import quirks
from postroom.imap.quirks import Quirk
from postroom.imap.responses import ServerId, Status


def greeting(text: str) -> frozenset[Quirk]:
    return quirks.of(Status(None, "OK", None, text), None)


def said(name: str) -> frozenset[Quirk]:
    return quirks.of(None, ServerId({"name": name}))


def host(name: str) -> frozenset[Quirk]:
    return quirks.of(None, None, name)


def test_an_unknown_server_is_taken_at_its_word() -> None:
    assert quirks.of(Status(None, "OK", None, "Dovecot ready."), ServerId({"name": "Dovecot"}), "mx") == set()
    assert quirks.of(None, None) == set()


def test_proton_bridge_gets_a_plain_list() -> None:
    assert Quirk.PLAIN_LIST in said("gluon")


def test_strato_gets_a_plain_list() -> None:
    assert Quirk.PLAIN_LIST in host("imap.strato.de")


def test_exchange_2003_is_not_asked_for_namespaces() -> None:
    text = "Microsoft Exchange IMAP4rev1 server version 6.5.7638.1 (mail) ready."

    assert greeting(text) == {Quirk.NO_NAMESPACE, Quirk.NO_MOVE}


def test_exchange_moves_by_copying() -> None:
    assert greeting("The Microsoft Exchange IMAP4 service is ready.") == {Quirk.NO_MOVE}


def test_icloud_is_not_believed_about_what_vanished() -> None:
    assert Quirk.NO_QRESYNC in host("imap.mail.me.com")


def test_gmail_is_asked_from_a_little_earlier() -> None:
    assert Quirk.LATE_MODSEQ in greeting("Gimap ready for requests from 10.0.0.1 x1")


def test_zoho_modseqs_are_not_used() -> None:
    assert Quirk.NO_MODSEQ in host("imap.zoho.eu")


def test_yahoo_hides_all_but_the_newest() -> None:
    assert Quirk.NEWEST_ONLY in host("imap.mail.yahoo.com")


def test_beehive_searches_by_range() -> None:
    assert Quirk.PLAIN_SEARCH in greeting("Oracle Beehive IMAP server ready")


def test_every_row_has_evidence_and_a_test_that_exists() -> None:
    for row in quirks.TABLE:
        assert row.evidence
        assert row.test in globals()


@pytest.mark.parametrize("name", ["imap.gmail.com", "imap.yandex.ru", "imap.yandex.com", "imap.ya.ru"])
def test_gmail_and_yandex_idle_for_nine_minutes(name: str) -> None:
    assert Quirk.SHORT_IDLE in host(name)
