"""Whose server a connection is opened to, and what for."""

from dataclasses import dataclass
from enum import StrEnum

from postroom.ids import AccountId, TenantId


class Purpose(StrEnum):
    """What a connection is for."""

    SYNC = "sync"
    COMMAND = "command"  # somebody waits for it
    WATCH = "watch"  # stands for hours, and gives way to the others


@dataclass(frozen=True, slots=True)
class Target:
    """An account's server, as far as connections to it are concerned."""

    tenant: TenantId
    account: AccountId
    host: str
    version: int  # of the credentials
    connections: int | None = None  # so many at a time; None: as its provider is known, or the setting

    @property
    def key(self) -> tuple[TenantId, AccountId]:
        return self.tenant, self.account
