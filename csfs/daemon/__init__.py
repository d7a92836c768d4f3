"""The daemon: builds its rooms, one nursery, the control socket."""
