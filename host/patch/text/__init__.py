"""The text of presets: statements, knobs and values, edited in place."""
