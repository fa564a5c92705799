"""The server's side of COMPRESS, for tests: streams that turn compressed in the middle."""

import zlib
from collections.abc import Sequence

from postroom.imap.deflate import RAW, Deflate

OK = b"P1 OK deflating\r\n"


def compressed(*said: bytes, flush: int = zlib.Z_SYNC_FLUSH) -> bytes:
    """What a server sends that flushes behind each of these."""
    deflate = zlib.compressobj(wbits=RAW)
    return b"".join(deflate.compress(each) + deflate.flush(flush) for each in said)


def inflated(pieces: Sequence[bytes]) -> bytes:
    """What a client has sent."""
    return zlib.decompressobj(RAW).decompress(b"".join(pieces))


def all_of(deflate: Deflate) -> bytes:
    """Everything that can be had of what has arrived."""
    found = b""
    while deflate.pending:
        found += deflate.piece()
    return found
