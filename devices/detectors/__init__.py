"""Detectors of ophyd-async that write files of their own, as cameras."""
