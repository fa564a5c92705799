"""Whether to compress a conversation. Pure: only where the link is what it waits for.

A server deflates on one core: Dovecot 33 MB of mail for each second of its processor (zlib level 6, its
default), and 12 to 16 MB/s where that is shared. 0.61 of the bytes are left to carry. So content comes

    in clear      as quickly as the link carries it
    compressed    at link / 0.61, and at the server's 33, or 12, MB/s at most

and both cross where the link carries as much as the server deflates. On quicker ones compression slows us
down, and always it takes many times the server's processor. The figures are in
docs/decisions/0010-compress-slow-links.md.
"""

from enum import StrEnum

SLOW = 15_000_000  # bytes of content a second, below which compression pays
NOTICEABLE = 0.8  # of the speed in clear: links are not steady
WORTH = 0.5  # seconds that what is left must take, as turning it on costs a round trip or two


class Compress(StrEnum):
    """What an account's settings say."""

    AUTO = "auto"  # as the link turns out to be
    ALWAYS = "always"
    NEVER = "never"


def pays(wish: Compress, speed: float | None, left: int) -> bool:
    """Whether to turn it on now, with so many bytes left to fetch over a link of this speed, if known."""
    if wish is not Compress.AUTO:
        return wish is Compress.ALWAYS
    return speed is not None and speed < SLOW and left > speed * WORTH


def in_vain(before: float | None, after: float | None) -> bool:
    """Whether clearly less content comes through than did in clear, by the speeds of both."""
    return before is not None and after is not None and after < NOTICEABLE * before
