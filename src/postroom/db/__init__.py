"""PostgreSQL: connections, migrations, roles, leases, the embedded server; nothing about mail."""
