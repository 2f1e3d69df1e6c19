"""Sweeps: many runs over a space of settings, from one file in Weights & Biases' format."""
