"""Real servers for the tests: PostgreSQL and Dovecot, each started once per run."""
