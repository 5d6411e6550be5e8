"""Knobs of a chroma model: descriptors of timbre, names of latents, directions of macros."""
