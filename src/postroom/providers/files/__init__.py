"""Mail in files: Maildir and mbox, to import from and to export to."""
