"""Models of spectra, one frame per hop."""
