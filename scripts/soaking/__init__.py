"""The soak: real members under mixed load, and harm done to them all the time; afterwards everything must agree."""
