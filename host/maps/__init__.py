"""Code maps and timbre of codes."""
