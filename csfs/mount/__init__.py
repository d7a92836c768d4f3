"""The kernel side: serves one directory, notes what changes, guards commits."""
