"""Generators of whole clips."""
