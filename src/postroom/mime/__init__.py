"""Raw bytes of a message in, a plain `ParsedMessage` out. Pure, linear, and never raises on bad mail."""
