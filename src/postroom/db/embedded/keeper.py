"""The process that keeps one embedded PostgreSQL running for as long as anybody is connected to it.

    python -m postroom.db.embedded.keeper HOME [SETTING=VALUE ...]

It detaches at once, so whoever starts it can wait for it. Of several started together one becomes the
keeper; the others end. Each client is sent one line of JSON, `{"ready": true}` or `{"code", "message"}`,
and then holds its connection for as long as it needs the server.
"""

import fcntl
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from postroom.db.embedded import server
from postroom.errors import PostroomError

SOCKET = "keeper.sock"
GRACE_SECONDS = 1.0
POLL_SECONDS = 0.02


class Ended(Exception):
    """We were asked to stop."""


def address(folder: int) -> str:
    """The socket's name through an open folder, so that its length does not matter."""
    return f"/proc/self/fd/{folder}/{SOCKET}"


def become(lock: int, folder: int) -> bool:
    """Wait until we are the keeper, or there is another one that answers."""
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            with socket.socket(socket.AF_UNIX) as other:
                if other.connect_ex(address(folder)) == 0:
                    return False
        time.sleep(POLL_SECONDS)  # the one before us is stopping, or has not begun to listen


class Keeper:
    """Answers clients, and ends when nobody is left or PostgreSQL is gone."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._clients: set[socket.socket] = set()
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)

    def keep(self, running: "subprocess.Popen[bytes]") -> None:
        """Serve until nobody has been connected for a moment.

        Should PostgreSQL die, its orphans still hold the lock; so we end, and the keeper that our clients
        start next waits for them.
        """
        idle_since = time.monotonic()
        while running.poll() is None:
            for key, _ in self._selector.select(GRACE_SECONDS / 4):
                if key.fileobj is self._listener:
                    self._welcome()
                elif isinstance(key.fileobj, socket.socket):
                    self._hear(key.fileobj)
            if self._clients:
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since > GRACE_SECONDS:
                return

    def refuse(self, error: PostroomError) -> None:
        """Tell everybody who is waiting why there is no server."""
        answer = json.dumps({"code": error.code, "message": error.message}).encode() + b"\n"
        self._listener.settimeout(GRACE_SECONDS)
        with suppress(OSError):  # nobody came for a while
            while True:
                client, _ = self._listener.accept()
                with client, suppress(OSError):
                    client.send(answer)

    def _welcome(self) -> None:
        client, _ = self._listener.accept()
        client.settimeout(0)
        try:
            client.send(b'{"ready": true}\n')
        except OSError:
            client.close()
            return
        self._clients.add(client)
        self._selector.register(client, selectors.EVENT_READ)

    def _hear(self, client: socket.socket) -> None:
        """Clients say nothing: whatever can be read is the end of one."""
        try:
            if client.recv(1024):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._selector.unregister(client)
        self._clients.discard(client)
        client.close()


def main(home: Path, extra: Sequence[str]) -> None:
    os.umask(0o077)
    folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    if os.fork():
        os._exit(0)  # who started us need not reap us
    log = server.open_log(home)
    os.dup2(log, 2)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if become(lock, folder):
        os.pwrite(lock, b"%-20d\n" % os.getpid(), 0)
        (home / SOCKET).unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener, suppress(Ended):
            listener.bind(address(folder))
            listener.listen(128)
            _serve(home, lock, log, extra, Keeper(listener))


def _serve(home: Path, lock: int, log: int, extra: Sequence[str], keeper: Keeper) -> None:
    running: subprocess.Popen[bytes] | None = None
    try:
        server.make(home, lock, log)
        running = server.start(home, lock, log, extra)
        keeper.keep(running)
    except PostroomError as error:
        keeper.refuse(error)
    finally:
        # Whoever comes from now on starts the next keeper, which waits for our lock.
        (home / SOCKET).unlink(missing_ok=True)
        if running is not None:
            server.stop(running)


def _end(_number: int, _frame: object) -> None:
    raise Ended


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
