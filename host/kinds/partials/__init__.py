"""Models of partials: harmonics and noise bands at the note's pitch, played by the spectrum engine."""
