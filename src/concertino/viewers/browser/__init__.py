"""The page itself, in a process of its own."""
