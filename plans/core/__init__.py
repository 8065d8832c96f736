"""What plans know of devices: protocols, questions and their answers, deadlines, parameters."""
