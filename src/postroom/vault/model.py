"""Secrets in memory, the place where a sealed one belongs, and what can go wrong."""

import hmac
from dataclasses import dataclass
from typing import NoReturn

from postroom.errors import Broken
from postroom.ids import TenantId


class Secret:
    """A text that shows itself only to who asks for it: not in logs, messages, JSON or tracebacks."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself. Hand it on at once; never keep, log or store it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(...)"

    def __str__(self) -> str:
        return "..."

    def __format__(self, _spec: str) -> str:
        return "..."

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __bool__(self) -> bool:
        return bool(self._text)

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, _memo: object) -> "Secret":
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled")


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a sealed text belongs. It opens there and nowhere else.

    `field` is table and column: `accounts_credential.password`.
    """

    tenant: TenantId
    row: int | str
    field: str


class WrongKey(Broken):
    """Sealed with a key that we have not got."""

    code = "vault.wrong_key"


class Damaged(Broken):
    """Not what was sealed in this place: changed, cut, or moved from another row."""

    code = "vault.damaged"


class WeakKey(Broken):
    """The key given is too short to protect anything."""

    code = "vault.weak_key"


class BadKeyFile(Broken):
    """The file of keys cannot be read, is not one, or others may read it."""

    code = "vault.bad_key_file"
