"""What images and slices tell: the axis, sharpness, shifts, resolution."""
