"""The PostgreSQL that comes with postroom, for people who have none."""
