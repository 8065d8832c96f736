"""The catalogue of a data directory."""
