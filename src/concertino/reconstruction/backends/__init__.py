"""Who can project back on this machine."""
