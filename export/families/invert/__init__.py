"""The invert family."""
