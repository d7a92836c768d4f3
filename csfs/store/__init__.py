"""The directory underneath; this room alone makes file system calls."""
