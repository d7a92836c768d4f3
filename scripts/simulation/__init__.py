"""Simulated clusters: the real engine on many members, with trees, links, clocks and disasters in memory, from one seed."""
