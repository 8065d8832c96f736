"""Streams between processes: both ends."""
