"""What every route shares: who is asking, pages, errors, limits, streams."""
