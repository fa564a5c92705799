"""A piece of a mail, or of what a server says, a thousand times: time must grow in line with it.

The first byte says which of the two; the next two say which piece of the rest is repeated. What takes long
when it is small is tried large, under the clock of whoever drives this.
"""

import time

from fuzz.mime_path import FOLDER, ITEM, TENANT

from postroom.imap.connection import Connection
from postroom.imap.framing import Framer
from postroom.imap.parser import parse as read_response
from postroom.mime.html import sanitise
from postroom.mime.parse import parse
from postroom.providers.model import RemoteMessage
from postroom.sync.prepare import prepare

SMALL, LARGE = 8 << 10, 128 << 10  # bytes
SUSPICIOUS = 0.03  # seconds for a small one; an ordinary one takes a fifth


def check(data: bytes) -> None:
    """Takes no time to speak of, or is a finding of whoever holds the clock."""
    if len(data) < 4:
        return
    began = time.thread_time()
    read(data[0], swell(data[3:], data[1], data[2], SMALL))
    if time.thread_time() - began > SUSPICIOUS:
        read(data[0], swell(data[3:], data[1], data[2], LARGE))


def read(kind: int, swollen: bytes) -> None:
    if kind % 2:
        prepare(TENANT, FOLDER, [(RemoteMessage(1, swollen, len(swollen)), ITEM)])
        sanitise(parse(swollen).html or "")
        return
    for frame in Framer().feed(swollen + b"\r\n"):
        read_response(frame)
    connection = Connection()
    connection.receive(b"* PREAUTH hi\r\n")
    connection.receive(swollen)


def swell(rest: bytes, start: int, length: int, size: int) -> bytes:
    """`rest` with one piece of it repeated until it is about `size` bytes long."""
    at = start * len(rest) // 256
    end = min(at + 1 + length % 64, len(rest))
    piece = rest[at:end]
    return rest[:at] + piece * ((size - len(rest)) // max(len(piece), 1)) + rest[end:]
