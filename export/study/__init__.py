"""Studies: repeat a publication's measurements."""
