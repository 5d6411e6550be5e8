"""MIDI files and ports."""
