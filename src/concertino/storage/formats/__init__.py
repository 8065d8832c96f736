"""How images are written."""
