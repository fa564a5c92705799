"""Fixtures for every test: real servers, started when first asked for."""

from importlib.util import find_spec

SERVERS = ("servers.postgres", "servers.tenants", "servers.api", "servers.copies", "servers.dovecot")

pytest_plugins = [plugin for plugin in SERVERS if find_spec(plugin) is not None]
