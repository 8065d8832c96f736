"""Sessions beside this one: in the same process, and in the same data directory."""
