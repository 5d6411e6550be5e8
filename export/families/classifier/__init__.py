"""The classifier family."""
