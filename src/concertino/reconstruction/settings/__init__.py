"""What decides a reconstruction, and what follows from it."""
