"""Presets and patches: reading, checking, resolving and editing of preset files."""
