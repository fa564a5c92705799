"""Where events are told by HTTP: subscriptions, signatures, deliveries."""
