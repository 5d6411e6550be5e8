"""Presets and patches: reads, validates, opens and edits preset files."""
