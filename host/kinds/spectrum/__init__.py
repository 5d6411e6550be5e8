"""Models of spectra, one frame a hop: settings, the overlap-add engine, its phases and voices."""
