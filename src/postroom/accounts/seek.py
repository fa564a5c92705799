"""Find the server of an address: without a question to anybody here; `seeker` asks."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from postroom.accounts.autodiscover import Candidate, FoundBy, Heard, candidates
from postroom.accounts.guess import by_table


class Seek(Protocol):
    async def __call__(
        self, address: str, ca_file: Path | None = None, /, *, by_grant: bool = False
    ) -> Sequence[Candidate]:
        """What to try for an address. `ca_file`: the authorities to trust, if not the usual ones; `by_grant`:
        one logs in with an access token, and not with a password.
        """
        ...


async def guessed(
    address: str, _ca_file: Path | None = None, *, by_grant: bool = False
) -> Sequence[Candidate]:
    """Without a question to anybody: by the table, else by the usual names."""
    return at_once(address, by_grant) or candidates(address, Heard(), random.random, by_grant=by_grant)


def at_once(address: str, by_grant: bool) -> list[Candidate]:
    """What the table of providers says; raises as `by_table` does."""
    settings = by_table(address, by_grant=by_grant)
    return [Candidate(settings, FoundBy.TABLE)] if settings is not None else []
