"""Models of whole clips: settings, the engine, the store of decoded clips and their resampling."""
