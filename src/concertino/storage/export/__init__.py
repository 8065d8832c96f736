"""Runs as files for the programs of others."""
