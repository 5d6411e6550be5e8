"""Chroma-conditioned autoencoders of spectra."""
