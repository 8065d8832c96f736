"""Stored runs: where they are, what they hold, played again."""
