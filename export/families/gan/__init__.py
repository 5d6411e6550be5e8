"""The families gan, dcgan and halves."""
