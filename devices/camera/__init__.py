"""Cameras: what they must be able to do, and how their frames are taken and documented."""
