"""Addresses, keys and connections of ZeroMQ."""
