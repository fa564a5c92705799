"""One request to a server that nobody trusts: where it goes, how long it takes, how much comes back."""

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from net.test_egress import resolves_to

from postroom.errors import PostroomError
from postroom.lab.certificate import make_certificate
from postroom.net.client import LIMIT, Answer, Client
from postroom.net.egress import Egress
from postroom.net.model import (
    BadAnswer,
    BadUrl,
    CertificateNotTrusted,
    Dropped,
    EgressRefused,
    PortClosed,
    TlsFailed,
    TooSlow,
)
from postroom.net.tls import client_context

ANYWHERE = Egress(private_allowed=True)
PUBLIC_ONLY = Egress(private_allowed=False)
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
Reply = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Place:
    """A server on loopback, and the requests that came."""

    port: int = 0
    scheme: str = "http"
    asked: list[bytes] = field(default_factory=list)

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"


@asynccontextmanager
async def serving(reply: bytes | Reply, context: ssl.SSLContext | None = None) -> AsyncIterator[Place]:
    place = Place(scheme="https" if context else "http")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            size = next(
                (line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), b":0"
            )
            place.asked.append(head + await reader.readexactly(int(size.split(b":")[1])))
            if isinstance(reply, bytes):
                writer.write(reply)
            else:
                await reply(head, writer)
            await writer.drain()
        writer.transport.abort() if writer.transport.is_closing() else writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        place.port = server.sockets[0].getsockname()[1]
        yield place


def redirect(to: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("reply", "body"),
    [
        (HELLO, b"hello"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b"hello"),
        (b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)
async def test_an_answer_comes_whole_however_it_is_framed(reply: bytes, body: bytes) -> None:
    async with serving(reply) as place:
        answer = await Client(ANYWHERE).send("GET", place.url())

    assert answer.body == body


async def test_a_request_says_what_it_was_told_and_nothing_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with serving(b"HTTP/1.1 418 Teapot\r\nX-Tea: green\r\nContent-Length: 0\r\n\r\n") as place:
        answer = await Client(ANYWHERE).send(
            "POST", place.url("/pot"), headers={"X-Cup": "1"}, content=b"tea"
        )
    (asked,) = place.asked

    assert (answer.status, answer.headers["x-tea"]) == (418, "green")
    assert asked.startswith(b"POST /pot HTTP/1.1\r\n")
    assert asked.endswith(b"\r\n\r\ntea")
    assert b"x-cup: 1" in asked.lower()
    assert b"accept-encoding: identity" in asked.lower()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_nobody_inside_is_reached_where_only_the_internet_is_allowed(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as canary:
        canary.settimeout(0)
        with pytest.raises(EgressRefused):
            await Client(PUBLIC_ONLY).send("GET", f"{scheme}://127.0.0.1:{canary.getsockname()[1]}/")
        with pytest.raises(BlockingIOError):
            canary.accept()


async def test_a_name_that_leads_elsewhere_the_second_time_gains_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(HELLO) as place:
        asked = resolves_to(monkeypatch, "127.0.0.1")
        await Client(ANYWHERE).send("GET", place.url(host="rebind.example"))
        with pytest.raises(EgressRefused):
            await Client(PUBLIC_ONLY).send("GET", place.url(host="rebind.example"))

    assert asked == ["rebind.example"] * 2  # once each: what was checked is what was connected to
    assert len(place.asked) == 1


async def test_a_redirect_is_an_answer_unless_it_may_be_followed() -> None:
    async with serving(HELLO) as target, serving(redirect(target.url())) as place:
        told = await Client(ANYWHERE).send("GET", place.url())
        posted = await Client(ANYWHERE).send("POST", place.url(), content=b"secret", hops=5)
        followed = await Client(ANYWHERE).send("GET", place.url(), headers={"Authorization": "mine"}, hops=1)

    assert (told.status, posted.status, followed.status) == (302, 302, 200)
    (asked,) = target.asked
    assert b"mine" not in asked  # it was for another server


async def test_every_hop_is_checked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"first.example": "127.0.0.1", "second.example": "10.0.0.1"}
    only = Egress(private_allowed=False)
    monkeypatch.setattr("postroom.net.egress.is_public", lambda address: str(address) == "127.0.0.1")
    monkeypatch.setattr("postroom.net.egress.is_own", lambda _: False)
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, port, *_, **__: [(2, 1, 6, "", (names[host], port))]
    )
    async with serving(redirect("http://second.example/")) as place:
        with pytest.raises(EgressRefused, match=r"second\.example"):
            await Client(only).send("GET", place.url(host="first.example"), hops=3)


async def test_redirects_in_a_circle_end() -> None:
    async with serving(redirect("/again")) as place:
        answer = await Client(ANYWHERE).send("GET", place.url(), hops=4)

    assert answer.status == 302
    assert len(place.asked) == 5


@pytest.mark.parametrize(
    "to", ["", "ftp://x/", "http://user:pass@x/", "//", "http://[::1", "\\", "http:///x"]
)
async def test_a_redirect_to_what_is_no_url_is_no_answer(to: str) -> None:
    async with serving(redirect(to)) as place:
        with suppress(PostroomError):
            answer = await Client(ANYWHERE).send("GET", place.url(), hops=1)
            assert answer.status == 302  # to itself

    assert all(asked.startswith(b"GET /") for asked in place.asked)


async def test_an_answer_without_end_is_cut_off() -> None:
    async def endless(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.transport.is_closing():
            writer.write(b"x" * 65536)
            await writer.drain()

    async with serving(endless) as place:
        with pytest.raises(BadAnswer, match="more than 100000 bytes"):
            await Client(ANYWHERE, most=100_000).send("GET", place.url())


async def test_headers_without_end_are_cut_off() -> None:
    async def endless(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while not writer.transport.is_closing():
            writer.write(b"x: " + b"y" * 1000 + b"\r\n")
            await writer.drain()

    async with serving(endless) as place:
        with pytest.raises(BadAnswer):
            await Client(ANYWHERE).send("GET", place.url())


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel"])
async def test_an_answer_that_never_comes_whole_ends_with_our_patience(begun: bytes) -> None:
    over = asyncio.Event()

    async def slow(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(begun)
        await over.wait()

    async with serving(slow) as place:
        with pytest.raises(TooSlow, match=r"within 0\.2 seconds"):
            await Client(ANYWHERE, limit=timedelta(seconds=0.2)).send("GET", place.url())
        over.set()


async def test_a_bomb_stays_packed() -> None:
    packed = gzip.compress(b"\0" * (64 << 20))
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"
    async with serving(head.encode() + packed) as place:
        with pytest.raises(BadAnswer, match="compressed"):
            await Client(ANYWHERE).send("GET", place.url())


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (b"", Dropped),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel", Dropped),
        (b"* OK I speak IMAP\r\n\r\n", BadAnswer),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", BadAnswer),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", BadAnswer),
    ],
)
async def test_what_is_no_answer_says_whether_it_was_lost_or_nonsense(
    reply: bytes, kind: type[PostroomError]
) -> None:
    async with serving(reply) as place:
        with pytest.raises(kind, match=r"127\.0\.0\.1"):
            await Client(ANYWHERE).send("GET", place.url())


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "ftp://example.org/",
        "file:///etc/passwd",
        "http://",
        "https:///x",
        "http://ann:canary@example.org/",
        "http://canary@example.org/",
        "http://exa mple.org/",
        "http://example.org/\r\nX: y",
        "http://example.org:99999/",
        "http://[::1/",
        "https://example.org/" + "x" * 8000,
    ],
)
async def test_what_is_no_url_is_not_asked_nor_repeated(url: str) -> None:
    with pytest.raises((BadUrl, PortClosed)) as told:
        await Client(PUBLIC_ONLY).send("GET", url)

    assert "canary" not in str(told.value)


async def test_a_server_must_be_trusted_and_speak_tls(tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    async with serving(HELLO, server_side(made.certificate, made.key)) as place:
        with pytest.raises(CertificateNotTrusted):
            await Client(ANYWHERE).send("GET", place.url())
        answer = await Client(ANYWHERE, made.certificate).send("GET", place.url())
    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as clear:
        with pytest.raises(TlsFailed):
            await Client(ANYWHERE).send("GET", f"https://127.0.0.1:{clear.sockets[0].getsockname()[1]}/")

    assert answer.body == b"hello"


async def test_the_context_that_all_share_is_not_changed(tmp_path: Path) -> None:
    """httpx2's own transport would have mail servers offered HTTP from then on."""
    made = make_certificate(tmp_path)
    chosen: list[str | None] = []

    async def reply(_: bytes, writer: asyncio.StreamWriter) -> None:
        chosen.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        writer.write(HELLO)

    context = server_side(made.certificate, made.key)
    context.set_alpn_protocols(["http/1.1"])
    async with serving(reply, context) as place:
        await Client(ANYWHERE, made.certificate).send("GET", place.url())
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", place.port, ssl=client_context(made.certificate)
        )
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        await reader.read()
        writer.close()

    assert chosen == [None, None]


def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    writer.close()


def server_side(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


async def test_a_request_that_is_cancelled_closes_its_connection() -> None:
    arrived, closed = asyncio.Event(), asyncio.Event()

    async def silent(_: bytes, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        with suppress(ConnectionError):
            while True:
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)
        closed.set()

    async with serving(silent) as place:
        task = asyncio.create_task(Client(ANYWHERE).send("GET", place.url()))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(10):
            await closed.wait()


NOW = datetime(2026, 2, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("Sun, 01 Feb 2026 12:01:00 GMT", 60),
        ("Sun, 01 Feb 2026 11:00:00 GMT", 0),
        ("Sun, 01 Feb 2026 12:01:00 -0000", 60),
        ("99999999999999999999", 366 * 86400),
        ("Sun, 01 Feb 9999 12:01:00 GMT", 366 * 86400),
        ("soon", None),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2026 00:00:00 +99999999999999999999", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("", None),
    ],
)
def test_how_long_a_server_wants_to_be_left_alone(said: str, seconds: int | None) -> None:
    wait = Answer(503, {"Retry-After": said} if said else {}, b"", NOW).retry_after

    assert wait == (None if seconds is None else timedelta(seconds=seconds))


def test_an_answer_shows_nothing_of_what_it_holds() -> None:
    assert repr(Answer(200, {"Set-Cookie": "canary"}, b"canary")) == "Answer(status=200)"
    assert timedelta(minutes=1) > LIMIT
