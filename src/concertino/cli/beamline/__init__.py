"""Commands of a beamline's file."""
