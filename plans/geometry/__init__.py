"""Which angles and positions: schemes, spirals, half acquisition, formulas."""
