"""Models of whole clips."""
