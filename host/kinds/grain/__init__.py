"""Models of grains: settings, the granular engine and the sources of its grains."""
