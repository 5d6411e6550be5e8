"""Gestures: trajectories of code and loudness from training notes."""
