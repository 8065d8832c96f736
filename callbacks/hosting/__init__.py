"""Callbacks in a process of their own."""
