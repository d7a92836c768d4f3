"""The handlers of the pass-through, by what they act on; `passthrough` puts them together."""
