"""The sequence family."""

STUDY = "sequence"
