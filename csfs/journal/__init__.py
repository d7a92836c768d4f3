"""The mount's changes in SQLite: appended by the mount alone, read by the daemon."""
