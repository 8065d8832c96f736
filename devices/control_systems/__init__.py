"""Devices of control systems."""
