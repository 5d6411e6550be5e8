"""Shipped MIDI files."""
