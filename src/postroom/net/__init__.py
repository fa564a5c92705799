"""The only way out: TLS, egress guard, HTTP client."""
