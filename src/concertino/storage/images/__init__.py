"""How images are read."""
