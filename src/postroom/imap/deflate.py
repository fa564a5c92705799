"""COMPRESS=DEFLATE (RFC 4978) between two byte streams, without a socket. A bomb goes off piece by piece.

A few bytes may stand for a thousand times as many. So what arrives is only kept, as it is, and whoever reads
takes it out in pieces of bounded size, when there is room for them.
"""

import zlib

from .errors import RemoteError

PIECE = 1 << 18  # bytes that come out at once
RAW = -15  # without zlib's header, looking back as far as deflate can
# What we send is short: these take 32 KiB of memory in place of 256.
OUR_WINDOW, OUR_MEMORY = -12, 5


class Deflate:
    """Give what arrives to `put`, take what it says from `piece`, write what `send` gives."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(RAW)
        self._deflate = zlib.compressobj(wbits=OUR_WINDOW, memLevel=OUR_MEMORY)
        self._waiting = b""
        self._more = False  # the last piece was as large as one may be: some may be left inside
        self.ended = False  # the server has ended its stream; nothing can follow

    @property
    def pending(self) -> bool:
        """Whether there may be another piece without anything new to arrive."""
        return (bool(self._waiting) or self._more) and not self.ended

    def put(self, data: bytes) -> None:
        """Bytes have arrived."""
        self._waiting += data

    def piece(self) -> bytes:
        """What comes next, `PIECE` bytes at most; empty where nothing more can be had of what has arrived.

        :raises RemoteError: this is not compressed data; of no more use then.
        """
        try:
            piece = self._inflate.decompress(self._waiting, PIECE)
        except zlib.error as error:
            raise RemoteError(f"the server's compressed data cannot be read: {error}") from error
        self._waiting = self._inflate.unconsumed_tail
        self._more = len(piece) == PIECE
        self.ended = self._inflate.eof
        return piece

    def send(self, data: bytes) -> bytes:
        """Compress `data`, to its last byte."""
        return self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
