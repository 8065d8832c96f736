"""Names, places and space on a disk."""
