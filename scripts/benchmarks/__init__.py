"""Benchmarks: each prints one table; figures of one run belong together, those of two runs do not."""
