"""Autoencoders of harmonics and noise bands."""
