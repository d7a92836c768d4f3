"""`scripts/demo`: two members over copies of /etc, edited with real tools and killed with real signals, shown as it happens."""
