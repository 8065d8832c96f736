"""Going through the messages of a plan without doing them, and what that tells."""
