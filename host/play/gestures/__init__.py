"""Gestures: per-note trajectories of code and loudness, as in recorded notes."""
