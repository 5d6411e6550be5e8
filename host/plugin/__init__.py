"""Plugin server: renders a DAW plugin's sound in its own process."""
