"""Audio I/O and effects."""
