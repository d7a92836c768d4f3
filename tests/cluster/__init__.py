"""Real members as processes: what only shows when daemons, mounts, a kernel and a network are all there."""
