"""Whether to compress a conversation. Pure: only where the link is what it waits for.

A server deflates on one core: Dovecot 17 MB of mail a second (zlib level 6, its default), of which 0.61 is
left to carry. So the content of a mailbox comes

    in clear      as quickly as the link carries it
    compressed    at link / 0.61, and at 17 MB/s at most

and both cross where the link carries 17 MB/s. On quicker ones compression slows us down, and it takes many
times the server's processor. docs/decisions/0009-compress-slow-links.md has the figures.
"""

from enum import StrEnum

SLOW = 15_000_000  # bytes of content a second, below which compression pays
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
