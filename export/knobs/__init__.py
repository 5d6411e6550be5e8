"""Descriptors, names and directions of latents."""
