"""Recipes: TOML files of training settings."""
