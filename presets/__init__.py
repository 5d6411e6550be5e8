"""Presets and models that ship."""
