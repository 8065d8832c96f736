"""A PandA box at its own ports: its blocks as signals, what it captures, and what it can do."""
