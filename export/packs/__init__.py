"""Writes packs: an instrument as one file."""
