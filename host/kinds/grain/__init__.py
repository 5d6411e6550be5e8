"""Models of grains: settings, the granular engine and its grain sources."""
