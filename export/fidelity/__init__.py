"""Fidelity report: compares an instrument's notes with held-out recordings, in figures and by listening."""
