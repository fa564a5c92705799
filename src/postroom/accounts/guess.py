"""Where the mail of an address may be, when its owner does not say. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import idna

from postroom.errors import Invalid, NeedsOwner
from postroom.providers.known import Known, LoginRule, by_address
from postroom.providers.model import AppPassword

LONGEST = 254  # RFC 5321, 4.5.3.1
FORBIDDEN = re.compile(r"[\s\x00-\x1f\x7f]")
DOMAIN = re.compile(r"(?!-)[^\s@/:?#\[\]\\.]{1,63}(?:\.[^\s@/:?#\[\]\\.]{1,63})+\Z")


class BadAddress(Invalid):
    code = "accounts.bad_address"


class NoImap(NeedsOwner):
    code = "accounts.no_imap"


def normal_address(written: str) -> str:
    """The address as it is stored: its domain in lower case. Raises `BadAddress`."""
    address = written.strip()
    if not address or len(address) > LONGEST or FORBIDDEN.search(address):
        raise BadAddress("An address has no spaces and at most 254 characters: name@example.org.")
    local, at, domain = address.rpartition("@")
    return f"{local}@{domain.lower()}" if at else address


def domain_of(address: str) -> str:
    """The domain of an address in ASCII, as the DNS knows it. Raises `BadAddress`.


    By IDNA 2008: the codec of the standard library takes one name for another (`straße.de`: `strasse.de`).
    """
    local, _, domain = address.rpartition("@")
    try:
        known = domain if domain.isascii() else idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        known = ""
    if not local or not DOMAIN.match(known):
        raise BadAddress(
            f"{address} is not an address like name@example.org; name its server with "
            "--server imaps://HOST:PORT."
        )
    return known


def at_known(
    known: Known, address: str, *, is_customer: bool = False, by_grant: bool = False
) -> Mapping[str, Any]:
    """Settings for an address at a provider of the table, or in a domain that it hosts for a customer.

    Raises `NoImap`, and `AppPassword` where no password at all is accepted: none is sent, and none is needed
    `by_grant`.
    """
    if known.rule is LoginRule.NO_IMAP:
        raise NoImap(known.advice)
    if known.rule is LoginRule.OAUTH and not by_grant:
        raise AppPassword(known.advice, host=known.host)
    host = (is_customer and known.customers) or known.host
    settings = {"host": host, "port": known.port, "security": known.security}
    if known.local_part and not is_customer:
        settings["username"] = address.rpartition("@")[0]
    return settings


def by_table(address: str, *, by_grant: bool = False) -> Mapping[str, Any] | None:
    """Settings where the address alone says who its provider is. Raises as `at_known` and `domain_of` do."""
    domain = domain_of(address)
    known = by_address(f"@{domain}")
    return at_known(known, address, by_grant=by_grant) if known is not None else None


def usual(domain: str) -> Sequence[Mapping[str, Any]]:
    """The names that servers usually have, and never without encryption."""
    likely = [(f"imap.{domain}", 993, "tls"), (f"mail.{domain}", 993, "tls"), (domain, 993, "tls")]
    likely += [(f"imap.{domain}", 143, "starttls"), (f"mail.{domain}", 143, "starttls")]
    return [{"host": host, "port": port, "security": security} for host, port, security in likely]
