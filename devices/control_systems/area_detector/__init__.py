"""EPICS areaDetector: its driver's records, and its frames by PV Access."""
