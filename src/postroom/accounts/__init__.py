"""Mailboxes that people have connected: how to reach them, and how they are doing."""
