"""Real members that are killed before every single step in turn: `scripts/crash`, and the tests beside it."""
