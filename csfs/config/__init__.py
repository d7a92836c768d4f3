"""csfs.toml and member.toml to one frozen Settings, all complaints at once."""
