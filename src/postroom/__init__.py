"""Postroom keeps an exact, fresh, searchable copy of people's mailboxes in PostgreSQL."""

__version__ = "0.1.0.dev0"
