"""Packs: an instrument as one file."""

SUFFIX = ".timbrel"
