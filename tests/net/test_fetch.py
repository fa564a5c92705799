"""One GET over HTTPS: what comes is the answer to it, bounded, from whom we meant to ask."""

import asyncio
import ssl
from pathlib import Path

import pytest
from servers.web import Answering, Authority, leading, page, site

from postroom.net.egress import Egress
from postroom.net.fetch import HEADERS, fetch
from postroom.net.model import CertificateNotTrusted, EgressRefused, NotFetched, TlsFailed
from postroom.net.tls import client_context

ANYWHERE = Egress(private_allowed=True)
HOST = "config.example.org"
LOOPBACK = "127.0.0.1"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.made(tmp_path)


def saying(raw: bytes) -> Answering:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(raw)

    return answer


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
        await writer.drain()


async def silent(writer: asyncio.StreamWriter) -> None:
    await writer.wait_closed()


async def got(
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answering,
    *,
    name: str = HOST,
    trusted: ssl.SSLContext | None = None,
    most: int = 1000,
) -> bytes:
    async with site(authority.context(name), {"/a b/c": answer, "/a%20b/c": answer}) as here:
        leading(monkeypatch, {(HOST, 443): (LOOPBACK, here.port)})
        context = trusted or client_context(authority.pem)
        raw = await fetch(f"https://{HOST}/a%20b/c?d=%40", ANYWHERE, context, most=most)
        assert here.asked == ["GET /a%20b/c?d=%40 HTTP/1.1"]
        return raw


@pytest.mark.parametrize(
    "answer",
    [
        page(b"hello"),
        saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"),
        saying(b"HTTP/1.0 200 OK\r\n\r\nhello"),
        saying(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more"),
    ],
)
async def test_a_page_comes_however_it_is_sent(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, answer: Answering
) -> None:
    assert await got(authority, monkeypatch, answer) == b"hello"


@pytest.mark.parametrize(
    "answer",
    [
        page(b"x" * 1001),
        endless,
        page(b"", status="404 Not Found"),
        page(b"", status="302 Found", headers="Location: https://elsewhere.example/\r\n"),
        page(b"", status="401 Unauthorized", headers='WWW-Authenticate: Basic realm="x"\r\n'),
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort"),
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
        saying(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 2 * HEADERS + b"\r\n\r\n"),
        saying(b"* OK IMAP4rev1 ready\r\n"),
        saying(b""),
    ],
)
async def test_what_is_not_a_whole_small_page_is_not_fetched(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, answer: Answering
) -> None:
    with pytest.raises(NotFetched):
        await got(authority, monkeypatch, answer)


async def test_a_server_that_says_nothing_is_waited_for_no_longer_than_the_caller_wants(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await got(authority, monkeypatch, silent)


async def test_who_cannot_prove_the_name_is_not_asked(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CertificateNotTrusted):
        await got(authority, monkeypatch, page(b"hello"), name="other.example.org")
    with pytest.raises(CertificateNotTrusted):
        await got(authority, monkeypatch, page(b"hello"), trusted=client_context())


async def test_nothing_is_asked_in_the_clear_or_in_a_private_network(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = client_context(authority.pem)
    with pytest.raises(NotFetched, match="not encrypted"):
        await fetch(f"http://{HOST}/", ANYWHERE, context, most=10)
    async with site(authority.context(HOST), {"/": page(b"secret")}) as here:
        leading(monkeypatch, {(HOST, 443): (LOOPBACK, here.port)})
        with pytest.raises(EgressRefused):
            await fetch(f"https://{HOST}/", Egress(private_allowed=False), context, most=10)
        assert here.asked == []


async def test_a_server_that_speaks_no_tls_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(greet, LOOPBACK, 0) as listener:
        leading(monkeypatch, {(HOST, 443): (LOOPBACK, listener.sockets[0].getsockname()[1])})
        with pytest.raises(TlsFailed):
            await fetch(f"https://{HOST}/", ANYWHERE, client_context(), most=10)
