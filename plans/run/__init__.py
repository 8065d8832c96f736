"""The run around acquisitions: metadata, checkpoints, pauses, pieces, what a resume must know."""
