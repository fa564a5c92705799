"""Where the mail of an address may be, from what was answered about its domain. Pure: `seek` asks.

    table ──> mx ──> srv ──> autoconfig ──> ispdb ──> guess
      │        └ who takes a domain's mail, hosts it: its row of the table, and its advice
      └ the address says it all, and nobody is asked

Nothing that anybody answers leads to a login without TLS. What the DNS says is signed by nobody: where it
names a host outside of the domain, that host's own certificate is all that speaks for it (RFC 6186, 6).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from postroom.accounts import autoconfig
from postroom.accounts.guess import NoImap, at_known, domain_of, usual
from postroom.errors import NeedsOwner
from postroom.net.model import Service
from postroom.providers.known import by_mx
from postroom.providers.model import AppPassword

MOST = 12  # candidates; each may be a login
MOST_SERVERS = 8  # of one service


class FoundBy(StrEnum):
    """What said that a server is the right one."""

    TABLE = "table"  # of large providers, by the address
    MX = "mx"  # the same, by the host that takes the domain's mail
    SRV = "srv"  # RFC 6186
    AUTOCONFIG = "autoconfig"  # the domain's own document
    ISPDB = "ispdb"  # Mozilla's collection of such documents
    GUESS = "guess"  # a name that servers usually have


@dataclass(frozen=True, slots=True)
class Candidate:
    """Settings worth trying; or, with a `refusal`, why nothing that we have can be of use there and none of
    it is sent.
    """

    settings: Mapping[str, Any]
    found_by: FoundBy | None  # None: the owner said so
    refusal: NeedsOwner | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """What was answered about a domain. Whatever was not is empty."""

    mail_hosts: Sequence[str] = ()
    imaps: Sequence[Service] = ()  # _imaps._tcp
    imap: Sequence[Service] = ()  # _imap._tcp
    documents: Sequence[bytes] = ()
    ispdb: bytes | None = None


def candidates(
    address: str, heard: Heard, roll: Callable[[], float], *, by_grant: bool = False
) -> list[Candidate]:
    """What to try, in this order, each server once. `roll` gives numbers from 0 to below 1. `by_grant`: one
    logs in with an access token, and not with a password.

    Raises `BadAddress`.
    """
    found: dict[tuple[Any, ...], Candidate] = {}
    for one in _all(address, domain_of(address), heard, roll, by_grant):
        key = tuple(one.settings.get(name) for name in ("host", "port", "security", "username"))
        found.setdefault(key, one)
    return list(found.values())[:MOST]


def _all(
    address: str, domain: str, heard: Heard, roll: Callable[[], float], by_grant: bool
) -> Iterator[Candidate]:
    known = by_mx(heard.mail_hosts)
    if known is not None:
        try:
            settings = at_known(known, address, is_customer=True, by_grant=by_grant)
            yield Candidate(settings, FoundBy.MX)
        except (NoImap, AppPassword) as refusal:
            yield Candidate({"host": known.host}, FoundBy.MX, refusal)
    for services, security in ((heard.imaps, "tls"), (heard.imap, "starttls")):
        for one in in_turn(services, roll):
            yield Candidate({"host": one.host, "port": one.port, "security": security}, FoundBy.SRV)
    ispdb = [heard.ispdb] if heard.ispdb else []
    for documents, by in ((heard.documents, FoundBy.AUTOCONFIG), (ispdb, FoundBy.ISPDB)):
        for settings, takes_us in _read(documents, address, domain, by_grant):
            yield Candidate(settings, by, None if takes_us else _oauth(settings["host"]))
    if known is None and not (_is_denied(heard.imaps) and _is_denied(heard.imap)):
        for settings in usual(domain):
            yield Candidate(settings, FoundBy.GUESS)


def _read(
    documents: Iterable[bytes], address: str, domain: str, by_grant: bool
) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """Settings, and whether they take what we have."""
    for raw in documents:
        try:
            servers = autoconfig.servers(raw, address, domain)
        except autoconfig.BadConfig:
            continue
        for settings, takes_password in servers:
            yield settings, takes_password or by_grant


def _oauth(host: str) -> AppPassword:
    return AppPassword(f"{host} accepts no password here, only OAuth: signing in at its provider.", host=host)


def _is_denied(services: Sequence[Service]) -> bool:
    """Whether the domain says that it has no such service: a single record with the root as its target."""
    return len(services) == 1 and not services[0].host


def in_turn(services: Sequence[Service], roll: Callable[[], float]) -> list[Service]:
    """The servers in the order in which to try them (RFC 2782): the lowest priority first, and of the same
    priority one by one by chance, as their weights have it; who weighs nothing comes last.
    """
    left = [one for one in services if one.host]
    turns: list[Service] = []
    while left and len(turns) < MOST_SERVERS:
        first = min(one.priority for one in left)
        rivals = sorted((one for one in left if one.priority == first), key=lambda one: one.weight)
        mark = roll() * (sum(one.weight for one in rivals) or 1)
        chosen = rivals[-1]
        for one in rivals:
            mark -= one.weight
            if mark < 0:
                chosen = one
                break
        turns.append(chosen)
        left.remove(chosen)
    return turns
