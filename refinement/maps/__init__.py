"""Density maps: reading, interpolation, model maps, masks, Fourier work."""
