"""Recipes: small TOML files, each a difference from its base, and what they hold."""
