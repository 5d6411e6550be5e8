"""The invert family."""

STUDY = "recovery"
