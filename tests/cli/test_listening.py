"""What the API's port does for whoever calls, on every event loop."""

import socket

from postroom.cli.listening import listening


def test_what_is_answered_in_pieces_leaves_at_once() -> None:
    """A second piece would else wait until the first is acknowledged, which a kernel puts off for 40 ms."""
    with listening("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
