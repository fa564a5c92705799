"""Certificates are verified, and the reason why one is not trusted is told."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from postroom.net.model import CertificateNotTrusted, Distrust, TlsFailed
from postroom.net.tls import BadCaFile, client_context, handshake_with

DAY = timedelta(days=1)


def certificate(
    folder: Path,
    name: str = "127.0.0.1",
    *,
    start: timedelta = -DAY,
    end: timedelta = DAY,
    signed_by: Path | None = None,
) -> Path:
    """A PEM file with key and certificate, signed by itself or by another such file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, signer = subject, key
    if signed_by is not None:
        pem = signed_by.read_bytes()
        issuer = x509.load_pem_x509_certificate(pem).subject
        loaded = serialization.load_pem_private_key(pem, None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        signer = loaded
    now = datetime.now(UTC)
    alternative = x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
    made = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now + start)
        .not_valid_after(now + end)
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=signed_by is None, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )
    path = folder / f"{made.serial_number}.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


@asynccontextmanager
async def serving(pem: Path | None, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> AsyncIterator[int]:
    """A server on loopback that greets, over TLS with this certificate or in the clear; yields its port."""
    context = None
    if pem is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.maximum_version = newest

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK hello\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


async def hello(port: int, ca_file: Path | None) -> bytes:
    with handshake_with("127.0.0.1"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_context(ca_file))
    line = await reader.readline()
    writer.close()
    return line


async def test_a_certificate_in_the_ca_file_is_trusted_as_it_stands(tmp_path: Path) -> None:
    pem = certificate(tmp_path)

    async with serving(pem) as port:
        assert await hello(port, pem) == b"* OK hello\r\n"


async def test_a_certificate_signed_by_the_ca_file_is_trusted(tmp_path: Path) -> None:
    authority = certificate(tmp_path, "authority.example")

    async with serving(certificate(tmp_path, signed_by=authority)) as port:
        assert await hello(port, authority) == b"* OK hello\r\n"


async def test_a_certificate_that_signed_itself_is_not_trusted(tmp_path: Path) -> None:
    async with serving(certificate(tmp_path)) as port:
        with pytest.raises(CertificateNotTrusted, match="signed its certificate itself") as caught:
            await hello(port, None)

    assert caught.value.reason is Distrust.SELF_SIGNED
    assert caught.value.data == {"reason": "self_signed", "host": "127.0.0.1"}


@pytest.mark.parametrize(
    ("start", "end", "reason"),
    [(-2 * DAY, -DAY, Distrust.EXPIRED), (DAY, 2 * DAY, Distrust.NOT_YET_VALID)],
)
async def test_a_certificate_out_of_its_time_is_not_trusted(
    tmp_path: Path, start: timedelta, end: timedelta, reason: Distrust
) -> None:
    pem = certificate(tmp_path, start=start, end=end)

    async with serving(pem) as port:
        with pytest.raises(CertificateNotTrusted) as caught:
            await hello(port, pem)

    assert caught.value.reason is reason


async def test_a_certificate_for_another_name_is_not_trusted(tmp_path: Path) -> None:
    pem = certificate(tmp_path, "mail.example")

    async with serving(pem) as port:
        with pytest.raises(CertificateNotTrusted, match="for another name") as caught:
            await hello(port, pem)

    assert caught.value.reason is Distrust.WRONG_NAME


async def test_a_certificate_of_an_unknown_authority_is_not_trusted(tmp_path: Path) -> None:
    authority = certificate(tmp_path, "authority.example")
    pem = certificate(tmp_path, signed_by=authority)

    async with serving(pem) as port:
        with pytest.raises(CertificateNotTrusted) as caught:
            await hello(port, None)

    assert caught.value.reason is Distrust.UNKNOWN_AUTHORITY


async def test_a_server_that_speaks_in_the_clear_where_tls_is_expected_says_so() -> None:
    async with serving(None) as port:
        with pytest.raises(TlsFailed, match="does not speak TLS"):
            await hello(port, None)


def test_nothing_older_than_tls_1_2_is_spoken() -> None:
    context = client_context()

    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_the_machines_authorities_are_read_once() -> None:
    assert client_context() is client_context()


def test_a_ca_file_that_is_missing_or_no_certificate_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadCaFile, match="No such file"):
        client_context(tmp_path / "missing.pem")
    (tmp_path / "note.txt").write_text("no certificate")
    with pytest.raises(BadCaFile, match="no certificate in PEM"):
        client_context(tmp_path / "note.txt")
