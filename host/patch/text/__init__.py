"""Edits the TOML text of presets."""
