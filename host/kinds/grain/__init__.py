"""Models of grains."""
