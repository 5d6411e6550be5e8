"""Measures whole clips: distances between sounds, and of sets to recordings."""
