"""Demos, loudness and peaks of instruments."""
