"""Motors and shutters of Tango, by the names that their servers usually have."""
