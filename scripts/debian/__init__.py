"""A copied Debian root: csfs below real administration tools, and below a booted systemd."""
