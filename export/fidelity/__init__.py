"""Fidelity of an instrument's notes to recordings."""
