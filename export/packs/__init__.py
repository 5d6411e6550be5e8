"""Packs: instruments as one file."""
