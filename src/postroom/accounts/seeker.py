"""Ask what is known of an address's domain: everything at once, each question with a short limit.

    DNS    MX of the domain, SRV of _imaps._tcp and _imap._tcp
    HTTPS  autoconfig.DOMAIN (which is told the address: it is the domain's own), DOMAIN/.well-known
           autoconfig.thunderbird.net, if that is allowed: it tells a third party the domain

No password is part of any question. What nobody answers in time was not asked.
"""

import asyncio
import random
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from postroom.accounts import autoconfig
from postroom.accounts.autodiscover import Candidate, Heard, candidates
from postroom.accounts.guess import domain_of
from postroom.accounts.seek import at_once
from postroom.errors import PostroomError
from postroom.net import tls
from postroom.net.client import Client
from postroom.net.egress import Egress
from postroom.net.names import Names

LIMIT = 5  # seconds for each question
ISPDB = "https://autoconfig.thunderbird.net/v1.1"

Answer = TypeVar("Answer")


class Seeker:
    """A `Seek` that asks. `allowed`: where questions may go; `ispdb`: whether Mozilla is asked, too."""

    def __init__(self, allowed: Egress, names: Names | None = None, *, ispdb: bool = False) -> None:
        self._allowed, self._names, self._ispdb = allowed, names or Names(), ispdb

    async def __call__(
        self, address: str, ca_file: Path | None = None, *, by_grant: bool = False
    ) -> Sequence[Candidate]:
        """Raises `BadAddress`, `BadCaFile`, and for an address of the table why no password works there."""
        if known := at_once(address, by_grant):
            return known
        heard = await self._heard(address, domain_of(address), ca_file)
        return candidates(address, heard, random.random, by_grant=by_grant)

    async def _heard(self, address: str, domain: str, ca_file: Path | None) -> Heard:
        about = f"emailaddress={quote(address, safe='')}"
        urls = [
            f"https://autoconfig.{domain}/mail/config-v1.1.xml?{about}",
            f"https://{domain}/.well-known/autoconfig/mail/config-v1.1.xml",
        ]
        tls.client_context(ca_file)  # which tells of a file that is none; an answer that fails tells nothing
        names, usual = self._names, Client(self._allowed, most=autoconfig.LARGEST)
        trusting = replace(usual, ca_file=ca_file)
        async with asyncio.TaskGroup() as group:
            mail_hosts = group.create_task(_in_time(names.mail_hosts(domain), []))
            imaps = group.create_task(_in_time(names.services("_imaps._tcp", domain), []))
            imap = group.create_task(_in_time(names.services("_imap._tcp", domain), []))
            documents = [group.create_task(_document(url, trusting)) for url in urls]
            ispdb = group.create_task(_document(f"{ISPDB}/{domain}", usual)) if self._ispdb else None
        return Heard(
            mail_hosts.result(),
            imaps.result(),
            imap.result(),
            [raw for document in documents if (raw := document.result()) is not None],
            ispdb.result() if ispdb else None,
        )


async def _document(url: str, client: Client) -> bytes | None:
    """No redirect is followed: it would lead where nobody looked."""
    answer = await _in_time(client.send("GET", url), None)
    return answer.body if answer is not None and answer.status == 200 else None


async def _in_time(question: Awaitable[Answer], otherwise: Answer) -> Answer:
    try:
        async with asyncio.timeout(LIMIT):
            return await question
    except (PostroomError, TimeoutError):
        return otherwise
