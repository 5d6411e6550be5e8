"""Edits the TOML text of presets in place."""
