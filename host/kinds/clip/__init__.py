"""Models of whole clips: settings, the engine, the cache of decoded clips and their resampling."""
