"""The accounts of a lab server: any number, each with a mailbox that is made when first touched."""

from collections.abc import Callable

from postroom.lab.mailbox import LabMailbox

ADDRESS = "robin@lab.example"


def address(number: int) -> str:
    """Of account 0, 1, 2 ...: `robin@lab.example`, `robin1@lab.example`, `robin2@lab.example` ..."""
    return ADDRESS.replace("@", f"{number or ''}@", 1)


class Accounts(dict[str, LabMailbox]):
    """Mailboxes by address. Those of the first `count` are made when they are asked for; others are added."""

    def __init__(self, count: int, make: Callable[[int], LabMailbox]) -> None:
        super().__init__()
        self._count, self._make = count, make

    def __contains__(self, user: object) -> bool:
        return super().__contains__(user) or self._number(user) is not None

    def __missing__(self, user: str) -> LabMailbox:
        number = self._number(user)
        if number is None:
            raise KeyError(user)
        made = self[user] = self._make(number)
        return made

    def _number(self, user: object) -> int | None:
        """Which account has this address, if it is one of the first."""
        if not isinstance(user, str):
            return None
        digits = user.removeprefix("robin").removesuffix("@lab.example")
        number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 9 else 0
        return number if number < self._count and address(number) == user else None
