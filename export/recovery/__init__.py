"""Finds the latent code of a sound by searches that need a gradient."""
