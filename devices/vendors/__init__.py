"""Cameras of makers, and libraries that speak to many: DECTRIS and `htype` streams, Aravis (GenICam), Micro-Manager."""
