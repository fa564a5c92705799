"""A conversation is compressed where its link is slow or its account says so, and nowhere else."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from random import Random

import pytest
from servers.dovecot import Dovecot
from servers.link import link

from postroom.lab import serve
from postroom.net.egress import Egress
from postroom.providers.imap.compression import SLOW, Compress, in_vain, pays
from postroom.providers.imap.provider import ImapMailbox, ImapProvider
from postroom.providers.model import Incomplete, Login, RemoteMessage

SLOW_LINK = 40.0  # megabits: 5 MB a second


def mail(number: int, size: int = 50_000) -> bytes:
    """Of letters that compress to half of their size."""
    text = Random(number).randbytes(size // 2).hex()
    return b"Subject: %d\r\n\r\n%s\r\n" % (number, "\r\n".join(_lines(text)).encode())


def _lines(text: str) -> Iterable[str]:
    return (text[at : at + 76] for at in range(0, len(text), 76))


@pytest.fixture(scope="module")
def user(dovecot: Dovecot) -> str:
    name = dovecot.user()
    dovecot.append(name, "INBOX", map(mail, range(150)))
    return name


@pytest.fixture
def provider() -> ImapProvider:
    """One that knows of no host yet how it was with it."""
    return ImapProvider(Egress(private_allowed=True))


@asynccontextmanager
async def opened(
    provider: ImapProvider, dovecot: Dovecot, user: str, port: int, **settings: object
) -> AsyncIterator[ImapMailbox]:
    where = {"host": dovecot.host, "port": port, "security": "plain", **settings}
    async with provider.open(Login(user, where, dovecot.password)) as mailbox:
        yield mailbox


async def all_mail(mailbox: ImapMailbox) -> dict[bytes, int]:
    """Every mail of INBOX, in as many copies as there are."""
    folders = await mailbox.folders()
    inbox = await mailbox.open(next(folder for folder in folders if folder.path == "INBOX"))
    found: dict[bytes, int] = {}
    async for message in inbox.fetch(await inbox.scan(await inbox.uids())):
        assert isinstance(message, RemoteMessage)
        assert isinstance(message.content, bytes)
        found[message.content] = found.get(message.content, 0) + 1
    return found


def compressed(mailbox: ImapMailbox) -> bool:
    return mailbox._conversation.session.compressed


EXPECTED = {mail(number): 1 for number in range(150)}
TOTAL = sum(map(len, EXPECTED))


async def test_a_slow_link_is_compressed_in_the_middle_of_a_fetch(
    provider: ImapProvider, dovecot: Dovecot, user: str
) -> None:
    with link(dovecot.host, dovecot.port, SLOW_LINK) as slow:
        async with opened(provider, dovecot, user, slow.port) as mailbox:
            assert await all_mail(mailbox) == EXPECTED
            assert compressed(mailbox)
            assert mailbox.speed is not None
            assert mailbox.speed < SLOW
        down, _ = slow.carried()
    assert down < 0.9 * TOTAL


async def test_a_slow_link_is_left_alone_where_the_account_says_so(
    provider: ImapProvider, dovecot: Dovecot, user: str
) -> None:
    with link(dovecot.host, dovecot.port, SLOW_LINK * 4) as slow:
        async with opened(provider, dovecot, user, slow.port, compress="never") as mailbox:
            assert await all_mail(mailbox) == EXPECTED
            assert not compressed(mailbox)
        down, _ = slow.carried()
    assert down > TOTAL


async def test_a_quick_link_is_not_compressed(provider: ImapProvider, dovecot: Dovecot, user: str) -> None:
    async with opened(provider, dovecot, user, dovecot.port) as mailbox:
        assert await all_mail(mailbox) == EXPECTED
        assert not compressed(mailbox)


@pytest.mark.parametrize("security", ["plain", "starttls", "tls"])
async def test_an_account_may_want_it_whatever_the_link(
    provider: ImapProvider, dovecot: Dovecot, user: str, security: str
) -> None:
    port = dovecot.tls_port if security == "tls" else dovecot.port
    settings = {"security": security, "ca_file": str(dovecot.ca_file), "compress": "always"}
    async with opened(provider, dovecot, user, port, **settings) as mailbox:
        assert await all_mail(mailbox) == EXPECTED
        assert compressed(mailbox)


@pytest.mark.parametrize(("wish", "is_compressed"), [("auto", False), ("always", True)])
async def test_a_host_that_was_slower_compressed_is_spoken_to_in_clear_unless_the_account_wants_it(
    provider: ImapProvider, dovecot: Dovecot, user: str, wish: str, *, is_compressed: bool
) -> None:
    provider._slower.append(dovecot.host)
    with link(dovecot.host, dovecot.port, SLOW_LINK) as slow:
        async with opened(provider, dovecot, user, slow.port, compress=wish) as mailbox:
            assert await all_mail(mailbox) == EXPECTED
            assert compressed(mailbox) is is_compressed


@pytest.mark.parametrize(
    ("wish", "speed", "left", "answer"),
    [
        (Compress.AUTO, None, 10**9, False),
        (Compress.AUTO, SLOW * 0.9, 10**9, True),
        (Compress.AUTO, SLOW * 1.1, 10**9, False),
        (Compress.AUTO, SLOW * 0.9, SLOW // 4, False),
        (Compress.AUTO, 10_000, 10_000, True),
        (Compress.ALWAYS, None, 1, True),
        (Compress.ALWAYS, SLOW * 10, 1, True),
        (Compress.NEVER, 1, 10**9, False),
    ],
)
def test_it_pays_where_the_link_is_slow_and_much_is_left(
    wish: Compress, speed: float | None, left: int, answer: bool
) -> None:
    assert pays(wish, speed, left) is answer


@pytest.mark.parametrize("fault", ["compress-garbled", "compress-bomb"])
async def test_a_host_whose_compression_breaks_is_spoken_to_in_clear_from_then_on(
    provider: ImapProvider, fault: str
) -> None:
    async with serve(messages=20, folder_count=2, offers=["compress"], faults=[fault]) as lab:
        where = {"host": lab.host, "port": lab.port, "security": "plain", "compress": "always"}
        login = Login(lab.address, where, lab.password)
        with pytest.raises(Incomplete, match="does not keep to the IMAP protocol"):
            async with provider.open(login) as mailbox:
                await all_mail(mailbox)
        async with provider.open(login) as mailbox:
            assert await all_mail(mailbox)
            assert not compressed(mailbox)


@pytest.mark.parametrize(
    ("before", "after", "answer"),
    [(None, 1e6, False), (1e6, None, False), (1e6, 1.6e6, False), (1e7, 9e6, False), (1e7, 7e6, True)],
)
def test_it_was_in_vain_where_clearly_less_comes_through_than_before(
    before: float | None, after: float | None, answer: bool
) -> None:
    assert in_vain(before, after) is answer
