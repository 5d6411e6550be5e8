"""The kind stream."""
