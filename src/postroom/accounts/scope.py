"""Which folders an account copies. Pure."""

from postroom.accounts.model import Scope
from postroom.errors import Invalid


class BadPattern(Invalid):
    code = "accounts.bad_folder_pattern"


def wants(scope: Scope, path: str) -> bool:
    """Whether a folder is to be copied: it matches a pattern (or there is none), and no exclusion.

    `*` stands for anything, `?` for one character; only INBOX is the same in any case. Raises `BadPattern`.
    """
    include, exclude = _patterns(scope.folders)
    name = _inbox(path)
    return any(matches(p, name) for p in include) and not any(matches(p, name) for p in exclude)


def check(pattern: str | None) -> None:
    """Raises `BadPattern`."""
    _patterns(pattern)


def matches(pattern: str, text: str) -> bool:
    """In time of the product of their lengths, however many stars there are."""
    at = here = 0
    star, restart = -1, 0
    while here < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, restart = at, here
            at += 1
        elif at < len(pattern) and pattern[at] in {"?", text[here]}:
            at, here = at + 1, here + 1
        elif star >= 0:
            restart += 1
            at, here = star + 1, restart
        else:
            return False
    return not pattern[at:].strip("*")


def _patterns(written: str | None) -> tuple[list[str], list[str]]:
    if written is None:
        return ["*"], []
    words = [word.strip() for word in written.split(",") if word.strip(" -")]
    if not words:
        raise BadPattern("The pattern of folders is empty; leave it out to copy everything.")
    include = [_inbox(word) for word in words if not word.startswith("-")]
    return include or ["*"], [_inbox(word[1:]) for word in words if word.startswith("-")]


def _inbox(text: str) -> str:
    starts = text[:5].upper() == "INBOX" and not text[5:6].isalnum()
    return "INBOX" + text[5:] if starts else text
