"""Imaging runs as values: what is taken, in which order, and the one composer that takes it."""
