"""TLS between two byte streams, without a socket and with small buffers.

asyncio's own keeps 256 KiB for each connection; an executor that watches thousands of mailboxes cannot.
It also makes STARTTLS a matter of one line.
"""

import ssl

RECORD = 1 << 14  # the largest TLS record


class Tls:
    """Feed what arrives to `receive`, write what `outgoing` gives."""

    def __init__(self, context: ssl.SSLContext, server_name: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        self.established = False
        self.ended = False  # the other side said so, or broke off

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the socket; return what they say in clear.

        :raises ssl.SSLError: also SSLCertVerificationError; `outgoing` then holds the alert.
        """
        self._incoming.write(data)
        if not self.established and not self.shake():
            return b""
        clear: list[bytes] = []
        try:
            while chunk := self._tls.read(RECORD):
                clear.append(chunk)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self.ended = True
        return b"".join(clear)

    def shake(self) -> bool:
        """Go on with the handshake; True once it is done."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.established = True
        return True

    def send(self, data: bytes) -> None:
        """Encrypt `data` into `outgoing`."""
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view) :]

    def outgoing(self) -> bytes:
        return self._outgoing.read()
