"""Knobs of a model: their effects, order and names."""
