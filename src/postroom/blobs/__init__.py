"""Raw bytes by tenant and hash, compressed, with counted references."""
