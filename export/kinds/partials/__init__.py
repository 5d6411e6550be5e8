"""The kind partials."""
