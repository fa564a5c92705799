"""Ordinary mail programs ask for parts of a message; what they get fits together."""

import email
import re
from email.message import Message

import pytest
from lab.talk import signed_in

from postroom.lab import serve
from postroom.lab.mails import is_broken, mail
from postroom.lab.structure import bodystructure, section
from postroom.lab.threads import Kind, facts_of

SEED = 4


def number_of(kind: Kind) -> int:
    return next(n for n in range(1000) if facts_of(SEED, n).kind is kind and not is_broken(SEED, n))


def leaves(part: Message, path: str = "") -> list[tuple[str, Message]]:
    payload = part.get_payload()
    if not isinstance(payload, list):
        return [(path or "1", part)]
    return [
        leaf
        for number, child in enumerate(payload, 1)
        for leaf in leaves(child, f"{path}.{number}" if path else str(number))
    ]


@pytest.mark.parametrize("kind", Kind)
def test_every_part_can_be_had_alone(kind: Kind) -> None:
    raw = mail(SEED, number_of(kind))

    for path, part in leaves(email.message_from_bytes(raw)):
        content, header = section(raw, path), section(raw, f"{path}.MIME")
        assert content in raw
        assert email.message_from_bytes(header + content).get_payload(decode=True) == part.get_payload(
            decode=True
        )


def test_a_part_that_is_not_there_is_nothing() -> None:
    raw = mail(SEED, number_of(Kind.NEWSLETTER))

    assert section(raw, "9") == b""
    assert section(raw, "1.HEADER") == b""


def test_the_structure_names_every_part_and_its_size() -> None:
    raw = mail(SEED, number_of(Kind.ATTACHED))
    described = bodystructure(raw, extended=True)

    assert described.count(b"(") == described.count(b")")
    for path, part in leaves(email.message_from_bytes(raw)):
        content = section(raw, path)
        assert f'"{part.get_content_subtype()}"'.encode() in described
        assert re.search(rb" %d[ )]" % len(content), described)


async def test_clients_can_fetch_parts() -> None:
    number = number_of(Kind.NEWSLETTER)
    async with serve(messages=0) as server:
        server.mailbox.deliver(mail(SEED, number))
        async with signed_in(server, "INBOX") as client:
            answer = await client.ask("a UID FETCH 1 (BODYSTRUCTURE BODY.PEEK[7])")
            refused = await client.ask("b UID FETCH 1 (BODY.PEEK[NONSENSE])")

    assert re.match(
        r'\* 1 FETCH \(UID 1 BODYSTRUCTURE \(\(.*\) "alternative" .*\) BODY\[7\] \{0\}', answer[0]
    )
    assert refused[-1].startswith("b BAD")
