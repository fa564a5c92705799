"""Folding and tokens for search: the index and the query use the same code."""
