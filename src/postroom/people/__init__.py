"""Tenants, their people and their API keys: who may ask."""
