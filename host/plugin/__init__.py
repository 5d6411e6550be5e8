"""Plugin server: renders a DAW plugin's sound in a separate process."""
