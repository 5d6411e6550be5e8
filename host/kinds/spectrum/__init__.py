"""Models of spectra, one frame per hop: settings, the overlap-add engine, phases and voicings."""
