"""IMAP servers as a provider: the client in `postroom.imap`, asked in the port's words."""
