"""What a domain publishes of its mail in the DNS: where it is delivered (MX) and where it is read (SRV).

Answers are strangers' words, and nobody has signed them: they are bounded and checked for their form here,
and where they lead to is checked again by `egress` and by TLS.
"""

import re
from collections.abc import Sequence
from itertools import islice

import dns.asyncresolver
import dns.exception
import dns.name
import dns.rdata
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.IN.SRV import SRV

from postroom.net.model import Service

LIMIT = 5.0  # seconds for one question, with all that is asked again
MOST = 20  # records of one answer that are looked at
LABEL = r"(?!-)[a-z0-9_-]{1,63}"
# The last label of a name is no number: what ends with one would be taken for an address.
HOST = re.compile(rf"(?=.{{1,253}}\Z)(?:{LABEL}\.)*(?=[a-z]){LABEL}\Z")


class Names:
    """Asks the name servers of this machine, unless it is given others."""

    def __init__(self, resolver: dns.asyncresolver.Resolver | None = None) -> None:
        self._resolver = resolver

    async def mail_hosts(self, domain: str) -> list[str]:
        """The hosts that take mail for a domain, the preferred first; none where nobody tells."""
        said = [one for one in await self._ask(domain, "MX") if type(one) is MX]
        found = [(one.preference, _host(one.exchange)) for one in said]
        return [host for _, host in sorted(found, key=lambda pair: pair[0]) if host]

    async def services(self, service: str, domain: str) -> list[Service]:
        """The servers of `_imaps._tcp` or its like, in no order; none where nobody tells."""
        said = [one for one in await self._ask(f"{service}.{domain}", "SRV") if type(one) is SRV]
        found = [(one, _host(one.target)) for one in said]
        return [
            Service(one.priority, one.weight, one.port, host)
            for one, host in found
            if host is not None and (one.port or not host)
        ]

    async def _ask(self, name: str, kind: str) -> Sequence[dns.rdata.Rdata]:
        """`name` is in ASCII. No answer, a wrong one and a late one are the same: nobody tells."""
        try:
            resolver = self._resolver or dns.asyncresolver.Resolver()  # which may be others than yesterday
            answer = await resolver.resolve(
                f"{name}.", kind, lifetime=LIMIT, search=False, raise_on_no_answer=False
            )
        except (dns.exception.DNSException, OSError):
            return ()
        return tuple(islice(answer.rrset or (), MOST))


def _host(name: dns.name.Name) -> str | None:
    """In lower case and without the last dot, empty for the root; None for what no host is called."""
    text = "" if name == dns.name.root else name.to_text(omit_final_dot=True).lower()
    return text if not text or HOST.match(text) else None
