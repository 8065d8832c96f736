"""Building blocks: take frames at rest and in motion, triggers, speeds, angles."""
