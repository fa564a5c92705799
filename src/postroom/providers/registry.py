"""Which kinds of mail server we can talk to: kind -> `Provider`, one line a kind."""

from collections.abc import Callable, Iterator, Mapping

from postroom.errors import Invalid
from postroom.net.egress import Egress
from postroom.providers.files.provider import FilesProvider
from postroom.providers.imap.provider import ImapProvider
from postroom.providers.model import Provider

Make = Callable[[Egress], Provider]

KINDS: dict[str, Make] = {
    "imap": ImapProvider,
    "files": lambda _: FilesProvider(),
}


class UnknownProvider(Invalid):
    code = "providers.unknown"


class Registry(Mapping[str, Provider]):
    """The providers of this installation, made with its rules on where connections may go.

    `more` adds kinds, or replaces ours; nothing else has to know of them.
    """

    def __init__(self, allowed: Egress, more: Mapping[str, Make] | None = None) -> None:
        self.allowed = allowed
        self._providers = {kind: make(allowed) for kind, make in {**KINDS, **(more or {})}.items()}

    def __getitem__(self, kind: str) -> Provider:
        try:
            return self._providers[kind]
        except KeyError:
            known = ", ".join(sorted(self._providers))
            raise UnknownProvider(f"There is no provider {kind!r}; there are: {known}.", kind=kind) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._providers)

    def __len__(self) -> int:
        return len(self._providers)
