"""Tenants, users and API keys: who may ask."""
