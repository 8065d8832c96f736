"""Plans that look at what they see: scans, focus, rotation axis, closed loops."""
