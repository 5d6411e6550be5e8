"""Kinds of models: preset settings, card rules and keys."""
