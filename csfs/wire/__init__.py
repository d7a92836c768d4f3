"""Messages between processes and members, and their encoding, without any input or output."""
