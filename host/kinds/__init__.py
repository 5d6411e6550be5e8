"""Kinds of models: their settings in presets, their rules for cards and presets; data and checks, no sound."""
