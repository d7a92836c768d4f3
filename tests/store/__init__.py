"""The store, on real file systems."""
