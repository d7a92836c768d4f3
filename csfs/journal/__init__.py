"""The changes that a mount noted, in SQLite: append and tail."""
