"""Alarms while a run goes on."""
