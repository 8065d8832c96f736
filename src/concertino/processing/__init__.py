"""What works on stored and live scans alike: frames, settings, runs of what was computed."""
