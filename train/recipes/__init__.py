"""Recipes: TOML files of training settings, with inheritance from a base."""
