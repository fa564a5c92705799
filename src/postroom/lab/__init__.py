"""A scriptable mail server: for demonstrations, and for faults that no real server shows on demand."""
