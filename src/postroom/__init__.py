"""Postroom keeps an exact, fresh, searchable copy of people's mailboxes in PostgreSQL."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from postroom.library import Postroom

__all__ = ["Postroom", "__version__"]
__version__ = "0.1.0.dev0"


def __getattr__(name: str) -> Any:
    """`Postroom` brings the whole program with it, which nobody else has to wait for."""
    if name != "Postroom":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from postroom.library import Postroom  # noqa: PLC0415

    return Postroom
