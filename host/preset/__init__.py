"""Presets: reads, validates, opens and edits their files."""
