"""Credentials at rest: sealed with a key that the database never sees."""
