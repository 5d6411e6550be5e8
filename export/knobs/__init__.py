"""Knobs of a model: what they move, their order and their names."""
