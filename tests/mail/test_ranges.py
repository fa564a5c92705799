"""Parts of raw mail and of attachments, and what is read of the copy for them."""

from base64 import encodebytes
from binascii import b2a_uu
from collections.abc import Callable
from random import Random
from uuid import UUID

import pytest
from mime.test_tnef import MAIL
from servers.api import Client
from servers.copies import Copy
from servers.tenants import ANNS, ONE

from postroom.blobs.pack import CHUNK, expand
from postroom.db.pool import Database
from postroom.ids import AccountId, TenantId
from postroom.mail import content
from postroom.mail.store import read

Copies = Callable[[TenantId, AccountId], Copy]

INSIDE = Random(1).randbytes(5000)
HEAD = (
    b"Subject: file\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\n\r\nx\r\n"
)
QUOTED = b"".join(b"=%02X" % byte + (b"=\r\n" if nth % 20 == 19 else b"") for nth, byte in enumerate(INSIDE))

UUENCODED = b"".join(b2a_uu(INSIDE[at : at + 45]) for at in range(0, len(INSIDE), 45)).replace(b"\n", b"\r\n")


@pytest.fixture
def ann(copy: Copies, tenants: None) -> Copy:  # noqa: ARG001  # they must be there first
    return copy(ONE, ANNS)


def with_file(encoding: str, body: bytes, content_type: str = "application/pdf") -> bytes:
    return (
        HEAD
        + f"--B\r\nContent-Type: {content_type}\r\nContent-Disposition: attachment; filename=f\r\n"
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n".encode()
        + body
        + b"\r\n--B--\r\n"
    )


def chunks_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the chunks of blobs that are unpacked from now on."""
    unpacked: list[int] = []

    def counted(chunk: bytes | memoryview) -> bytes:
        raw = expand(chunk)
        unpacked.append(len(raw))
        return raw

    monkeypatch.setattr("postroom.blobs.store.expand", counted)
    return unpacked


def path(id: UUID, of: str) -> str:
    return f"/v1/mail/messages/{id}/{of}"


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("base64", encodebytes(INSIDE).replace(b"\n", b"\r\n")),
        (
            "base64",
            encodebytes(INSIDE[:1000]) + b" \r\n" + encodebytes(INSIDE[1000:]),
        ),  # padding in the middle
        ("quoted-printable", QUOTED),
        ("x-uuencode", b"begin 644 f\r\n" + UUENCODED + b"`\r\nend\r\nnothing more\r\n"),
        ("binary", INSIDE),
    ],
    ids=["base64", "two runs of base64", "quoted-printable", "uuencode", "binary"],
)
@pytest.mark.parametrize(
    ("first", "past"), [(0, 1), (0, 5000), (1, 2), (999, 1001), (4999, 5000), (2500, 4000)]
)
async def test_a_part_of_an_attachment_is_that_part_however_it_is_encoded(
    ann: Copy, api: Client, encoding: str, body: bytes, first: int, past: int
) -> None:
    [mail] = await ann.deliver(with_file(encoding, body))
    url = path(mail.public_id, "attachments/1")
    whole = await api.get(url)
    part = await api.get(
        url, headers={"Range": f"bytes={first}-{past - 1}", "If-Range": whole.headers["ETag"]}
    )

    assert whole.content == INSIDE
    assert (part.status_code, part.content) == (206, INSIDE[first:past])
    assert part.headers["Content-Range"] == f"bytes {first}-{past - 1}/5000"
    assert part.headers["Content-Disposition"] == whole.headers["Content-Disposition"]
    assert part.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"


async def test_a_file_inside_a_winmail_dat_has_parts_too(ann: Copy, api: Client) -> None:
    [mail] = await ann.deliver(MAIL)
    url = path(mail.public_id, "attachments/2")

    assert (await api.get(url)).content == b"%PDF-1"
    assert (await api.get(url, headers={"Range": "bytes=1-3"})).content == b"PDF"


async def test_a_download_that_broke_off_goes_on(ann: Copy, api: Client) -> None:
    [mail] = await ann.deliver(with_file("base64", encodebytes(INSIDE), "text/plain"))
    for of, what in (
        ("attachments/1", INSIDE),
        ("raw", with_file("base64", encodebytes(INSIDE), "text/plain")),
    ):
        url = path(mail.public_id, of)
        begun = await api.get(url, headers={"Accept-Encoding": "gzip"})
        asked = {"Range": "bytes=1234-", "If-Range": begun.headers["ETag"], "Accept-Encoding": "gzip"}
        rest = await api.get(url, headers=asked)

        assert begun.content[:1234] + rest.content == what
        assert rest.status_code == 206
        assert not {"content-encoding"} & (begun.headers.keys() | rest.headers.keys())
        behind = await api.get(url, headers={"Range": f"bytes={len(what)}-"})
        assert (behind.status_code, behind.headers["Content-Range"]) == (416, f"bytes */{len(what)}")
        assert behind.json()["code"] == "http.nothing_in_range"


async def test_of_a_large_mail_only_the_chunks_asked_for_are_unpacked(
    ann: Copy, api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = Random(2).randbytes(3 * CHUNK).replace(b"\n", b"x").replace(b"\r", b"y")
    raw = with_file("binary", inside)
    [mail] = await ann.deliver(raw)
    unpacked = chunks_read(monkeypatch)
    asked = {"Range": f"bytes={2 * CHUNK + 1000}-{2 * CHUNK + 1999}"}

    part = await api.get(path(mail.public_id, "raw"), headers=asked)
    assert part.content == raw[2 * CHUNK + 1000 : 2 * CHUNK + 2000]
    assert unpacked == [CHUNK]

    part = await api.get(path(mail.public_id, "attachments/1"), headers=asked)
    assert part.content == inside[2 * CHUNK + 1000 : 2 * CHUNK + 2000]
    assert unpacked == [CHUNK] * 2


async def test_of_an_encoded_attachment_nothing_is_read_behind_the_part_asked_for(
    ann: Copy, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = Random(3).randbytes(2 * CHUNK)
    [mail] = await ann.deliver(with_file("base64", encodebytes(inside)))
    async with db.transaction(ONE) as conn:
        digest, found = await read.attachment(conn, ONE, mail.public_id, 1)
    unpacked = chunks_read(monkeypatch)

    pieces = [piece async for piece in content.decoded(db, ONE, digest, found, 1000, CHUNK // 2)]

    assert b"".join(pieces) == inside[1000 : CHUNK // 2]
    assert unpacked == [CHUNK]
    assert max(map(len, pieces)) <= content.SLICE  # never much of it at once
