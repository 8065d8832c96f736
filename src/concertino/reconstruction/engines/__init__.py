"""What makes slices of rows."""
