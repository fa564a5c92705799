"""The tests' Redis answers on loopback, and is gone afterwards."""

import pytest

from servers.fetch import CannotFetch
from servers.redis import running


def test_a_redis_comes_and_goes() -> None:
    try:
        with running() as server:
            assert server.ask("SET", "a key", "a value") == b"+OK\r\n"
            assert server.ask("GET", "a key") == b"$7\r\na value\r\n"
    except CannotFetch as error:
        pytest.skip(f"no Redis here: {error}")
    with pytest.raises(OSError, match="refused"):
        server.ask("PING")
