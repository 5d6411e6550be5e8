"""Instrument presets: kit keys, demo performance, loudness and peak levels."""
