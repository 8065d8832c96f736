"""What is shown to whoever started a process: progress, and text of others."""
