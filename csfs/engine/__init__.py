"""One volume on one member as a state machine, without any input or output."""
