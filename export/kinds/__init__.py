"""Kinds of models for export: first presets, demos, views for searches and players for nn~."""
