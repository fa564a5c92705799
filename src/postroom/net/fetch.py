"""GET something small over HTTPS: the answer to this very request, and never more than is wanted."""

import asyncio
import ssl
from urllib.parse import urlsplit

import h11

from postroom.net import egress
from postroom.net.egress import Egress
from postroom.net.model import NotFetched
from postroom.net.tls import handshake_with

HEADERS = 16 << 10  # bytes of the answer before its body
READ = 16 << 10


async def fetch(url: str, allowed: Egress, context: ssl.SSLContext, *, most: int) -> bytes:
    """The body of a plain 200, of `most` bytes. No redirect is followed: it would lead where nobody looked.

    `context` says whom to trust. The limit of time is the caller's. Raises `NotFetched`, and as `connect`.
    """
    parts = urlsplit(url)
    host, target = parts.hostname or "", parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
    if parts.scheme != "https":
        raise NotFetched(f"{url} is not asked for: it is not encrypted.", host=host)
    sock = await egress.connect(host, parts.port or 443, allowed)
    try:
        with handshake_with(host):
            reader, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=host)
        try:
            return await _exchange(reader, writer, parts.netloc, target, most)
        except (h11.ProtocolError, OSError) as error:
            raise NotFetched(f"{host} does not answer as a web server should.", host=host) from error
        finally:
            writer.transport.abort()
    finally:
        sock.close()


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, target: str, most: int
) -> bytes:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEADERS)
    headers = [("Host", host), ("Connection", "close"), ("User-Agent", "postroom"), ("Accept", "*/*")]
    asked = connection.send(h11.Request(method="GET", target=target, headers=headers)) or b""
    writer.write(asked + (connection.send(h11.EndOfMessage()) or b""))
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(READ))
        elif isinstance(event, h11.Response) and event.status_code != 200:
            raise NotFetched(f"{host} has nothing there.", host=host, status=event.status_code)
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > most:
                raise NotFetched(f"{host} answers with more than {most:,} bytes.", host=host)
        elif isinstance(event, h11.EndOfMessage):
            return bytes(body)
