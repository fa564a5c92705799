"""Durable jobs: wanted in a transaction, run by whoever is free, followed live, retried, taken over."""
