"""Knobs of a model: timbre descriptors, names of latents, macro directions."""
