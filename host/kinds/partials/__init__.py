"""Models of partials: harmonics and bands of noise at the note's own pitch, played by the engine of spectra."""
