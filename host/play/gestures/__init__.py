"""Gestures: trajectories of code and loudness along notes."""
