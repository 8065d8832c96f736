"""The simulated beamline."""
