"""The families gan, dcgan and halves."""

STUDY = "gan"
