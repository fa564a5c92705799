"""Fixtures for every test: real servers, started when first asked for."""

from importlib.util import find_spec

pytest_plugins = [
    plugin for plugin in ("servers.postgres", "servers.dovecot") if find_spec(plugin) is not None
]
