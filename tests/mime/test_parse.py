"""A plain mail is read as a person would read it."""

from datetime import UTC, datetime

from postroom.mime.model import Address
from postroom.mime.parse import parse

SIMPLE = b"""\
From: "Ada Lovelace" <ada@Example.ORG>\r
To: bob@example.org, =?utf-8?q?Zo=C3=AB?= <zoe@example.org>\r
Subject: =?utf-8?b?R3LDvMOfZQ==?= from\r
 the engine\r
Date: Mon, 20 Nov 2023 10:00:00 +0100\r
Message-ID: <1@example.org>\r
References: <a@x> <b@x>\r
In-Reply-To: <b@x>\r
\r
Hello Bob,\r
the engine works.\r
"""


def test_a_simple_mail_is_read_in_full() -> None:
    message = parse(SIMPLE)

    assert message.sender == Address("Ada Lovelace", "ada@example.org")
    assert message.to == (Address("", "bob@example.org"), Address("Zoë", "zoe@example.org"))
    assert message.subject == "Grüße from the engine"
    assert message.sent_at == datetime(2023, 11, 20, 9, tzinfo=UTC)
    assert message.message_id == "1@example.org"
    assert message.references == ("a@x", "b@x")
    assert message.in_reply_to == ("b@x",)
    assert message.text == "Hello Bob,\nthe engine works.\n"
    assert message.preview == "Hello Bob, the engine works."
    assert message.html is None
    assert message.header("SUBJECT") == message.subject
    assert message.defects == ()
