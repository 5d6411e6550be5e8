"""Gestures of a model file: trajectories of code and loudness from training notes."""
