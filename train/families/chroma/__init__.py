"""Chroma family: chroma-conditioned autoencoders of Colonel & Keene (2020), and playable variants."""
