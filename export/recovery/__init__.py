"""Gradient-based code recovery: finds the latent code of a sound."""
