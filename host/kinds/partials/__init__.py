"""Models of partials."""
