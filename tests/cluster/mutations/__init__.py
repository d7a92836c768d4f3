"""Every system call that changes something, by what it changes: `contents`, `names`, `attributes`."""
