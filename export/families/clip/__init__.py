"""The clip family."""
