"""Measures for reports and studies: frame distances, pitch control, latent codes, and likeness of sounds."""
