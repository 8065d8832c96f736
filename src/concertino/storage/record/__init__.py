"""The documents of a run as a file."""
