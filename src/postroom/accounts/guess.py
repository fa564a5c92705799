"""Where the mail of an address may be, when its owner does not say. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from postroom.errors import Invalid, NeedsOwner
from postroom.providers.known import LoginRule, by_address
from postroom.providers.model import AppPassword

LONGEST = 254  # RFC 5321, 4.5.3.1
FORBIDDEN = re.compile(r"[\s\x00-\x1f\x7f]")
DOMAIN = re.compile(r"(?!-)[^\s@/:?#\[\]\\.]{1,63}(?:\.[^\s@/:?#\[\]\\.]{1,63})+\Z")


class BadAddress(Invalid):
    code = "accounts.bad_address"


class NoImap(NeedsOwner):
    code = "accounts.no_imap"


@dataclass(frozen=True, slots=True)
class Guess:
    """Settings worth trying, in order. `known`: there is no doubt, so their failure is the answer."""

    settings: Sequence[Mapping[str, Any]]
    known: bool


def normal_address(written: str) -> str:
    """The address as it is stored: its domain in lower case. Raises `BadAddress`."""
    address = written.strip()
    if not address or len(address) > LONGEST or FORBIDDEN.search(address):
        raise BadAddress("An address has no spaces and at most 254 characters: name@example.org.")
    local, at, domain = address.rpartition("@")
    return f"{local}@{domain.lower()}" if at else address


def guess(address: str, *, by_grant: bool = False) -> Guess:
    """By the table of large providers, else by the names that servers usually have.

    Raises `BadAddress`, `NoImap`, and `AppPassword` where no password at all is accepted: none is sent, and
    none is needed `by_grant`.
    """
    local, _, domain = address.rpartition("@")
    if not local or not DOMAIN.match(domain):
        raise BadAddress(
            f"{address} is not an address like name@example.org; name its server with --server imaps://HOST:PORT."
        )
    known = by_address(address)
    if known is None:
        likely = [(f"imap.{domain}", 993, "tls"), (f"mail.{domain}", 993, "tls"), (domain, 993, "tls")]
        likely += [(f"imap.{domain}", 143, "starttls"), (f"mail.{domain}", 143, "starttls")]
        return Guess([{"host": h, "port": p, "security": s} for h, p, s in likely], known=False)
    if known.rule is LoginRule.NO_IMAP:
        raise NoImap(known.advice)
    if known.rule is LoginRule.OAUTH and not by_grant:
        raise AppPassword(known.advice, host=known.host)
    settings = {"host": known.host, "port": known.port, "security": known.security}
    return Guess([settings | ({"username": local} if known.local_part else {})], known=True)
