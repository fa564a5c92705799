"""The Dovecot that other tests rely on does what they rely on. The oracle is Python's own imaplib."""

import imaplib
import ssl
from datetime import UTC, datetime

import pytest

from servers.dovecot import Dovecot


def signed_in(server: Dovecot, user: str) -> imaplib.IMAP4:
    client = imaplib.IMAP4(server.host, server.port)
    client.login(user, server.password)
    return client


def test_messages_appear_in_the_order_in_which_they_were_put(dovecot: Dovecot) -> None:
    user = dovecot.user("ann")
    dovecot.append(user, "INBOX", [b"Subject: %d\r\n\r\n" % n for n in range(1, 251)])

    with signed_in(dovecot, user) as client:
        client.select("INBOX")
        numbers = client.uid("FETCH", "1,250", "(BODY[HEADER.FIELDS (SUBJECT)])")[1]

    assert [answer[1].strip() for answer in numbers[::2]] == [b"Subject: 1", b"Subject: 250"]


def test_dates_flags_and_bytes_arrive(dovecot: Dovecot) -> None:
    user, raw = dovecot.user(), b"Subject: x\r\n\r\nbody\r\n"
    when = datetime(2019, 7, 4, 12, 30, tzinfo=UTC)
    dovecot.append(user, "Reisen/Straße.日本", [raw], received=[when], flags=[["\\Seen", "\\Flagged"]])

    with signed_in(dovecot, user) as client:
        client.select('"Reisen/Stra&AN8-e.&ZeVnLA-"')
        answer = str(client.fetch("1", "(FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])"))

    assert str(raw) in answer
    assert 'INTERNALDATE "04-Jul-2019 12:30:00 +0000"' in answer
    assert "RFC822.SIZE 20 " in answer
    assert "Flagged" in answer
    assert "Seen" in answer


def test_what_is_put_later_is_seen_by_who_is_connected(dovecot: Dovecot) -> None:
    user = dovecot.user()
    dovecot.append(user, "INBOX", [b"Subject: 1\r\n\r\n"])

    with signed_in(dovecot, user) as client:
        client.select("INBOX")
        dovecot.append(user, "INBOX", [b"Subject: 2\r\n\r\n"])
        client.noop()

        assert client.untagged_responses["EXISTS"][-1] == b"2"


def test_a_wrong_password_is_refused(dovecot: Dovecot) -> None:
    client = imaplib.IMAP4(dovecot.host, dovecot.port)

    with client, pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        client.login(dovecot.user(), "wrong")


def test_both_ways_of_encrypting_accept_the_certificate(dovecot: Dovecot) -> None:
    trust = ssl.create_default_context(cafile=dovecot.ca_file)

    with imaplib.IMAP4_SSL(dovecot.host, dovecot.tls_port, ssl_context=trust) as client:
        client.login(dovecot.user(), dovecot.password)
    with imaplib.IMAP4(dovecot.host, dovecot.port) as client:
        client.starttls(trust)
        client.login(dovecot.user(), dovecot.password)


def test_the_extensions_that_we_use_are_there(dovecot: Dovecot) -> None:
    with signed_in(dovecot, dovecot.user()) as client:
        offered = set(client.capability()[1][0].decode().split())

    assert offered >= {
        "CONDSTORE",
        "QRESYNC",
        "ESEARCH",
        "LIST-STATUS",
        "MOVE",
        "UIDPLUS",
        "SPECIAL-USE",
        "IDLE",
        "COMPRESS=DEFLATE",
    }


def test_a_name_that_leads_out_of_its_folder_is_refused(dovecot: Dovecot) -> None:
    with pytest.raises(ValueError, match="not a name"):
        dovecot.append(dovecot.user(), "../../elsewhere", [])
