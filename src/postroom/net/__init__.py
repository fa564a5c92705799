"""The only way out: egress guard, TLS, HTTP client."""
