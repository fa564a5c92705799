"""An IMAP client protocol without a socket (`aio.py` has the only one). Standard library only."""
