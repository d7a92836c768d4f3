"""Records, knowledge and what is applied, in SQLite."""
