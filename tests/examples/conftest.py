"""The database of the tests of the library."""

from library.conftest import desk

__all__ = ["desk"]
