"""The kind spectrum."""
