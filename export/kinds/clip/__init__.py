"""The kind clip."""
