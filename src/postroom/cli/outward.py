"""The ways to other servers that the API has: imported beside its first answers, or at their first use."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from postroom.accounts.autodiscover import Candidate
from postroom.cli.starting import load
from postroom.net.egress import Egress
from postroom.providers.model import Provider

if TYPE_CHECKING:
    from postroom.providers.registry import Registry

PROVIDERS, SEEKER = "postroom.providers.registry", "postroom.accounts.seeker"


class Providers(Mapping[str, Provider]):
    """The `Registry` of an installation, which is made at its first use."""

    def __init__(self, allowed: Egress) -> None:
        self._allowed = allowed

    @cached_property
    def _registry(self) -> "Registry":
        from postroom.providers.registry import Registry

        return Registry(self._allowed)

    def __getitem__(self, kind: str) -> Provider:
        return self._registry[kind]

    def __iter__(self) -> Iterator[str]:
        return iter(self._registry)

    def __len__(self) -> int:
        return len(self._registry)


class Seeking:
    """The `Seeker` of an installation, in the same way."""

    def __init__(self, allowed: Egress, *, ispdb: bool) -> None:
        self._allowed, self._ispdb = allowed, ispdb

    async def __call__(
        self, address: str, ca_file: Path | None = None, /, *, by_grant: bool = False
    ) -> Sequence[Candidate]:
        await load(SEEKER)
        from postroom.accounts.seeker import Seeker

        return await Seeker(self._allowed, ispdb=self._ispdb)(address, ca_file, by_grant=by_grant)
