"""What a session offers at a prompt: a run in the background, a table of devices, moves, and a stop of everything."""
