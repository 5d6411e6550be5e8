"""Gradient search for the latent code of a sound."""
