"""Reconstruction while a run goes on."""
