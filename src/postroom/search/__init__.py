"""A query in words, answered from the copy."""
