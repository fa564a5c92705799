"""Messages as people see them: stored, threaded, listed, read."""
