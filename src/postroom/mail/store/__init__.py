"""All SQL of the room: `write` for the sync, `read` for whoever looks, `folders` for both."""
