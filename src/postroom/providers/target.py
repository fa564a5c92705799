"""Whose connection one is, and what for."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from postroom.ids import AccountId, TenantId

Key: TypeAlias = tuple[TenantId, AccountId]


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
    def key(self) -> Key:
        return self.tenant, self.account
