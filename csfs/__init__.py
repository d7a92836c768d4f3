"""csfs keeps directories the same on several hosts."""

__version__ = "0.1.0"
