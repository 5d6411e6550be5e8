"""The chroma family."""
