"""Several runs, one after the other."""
