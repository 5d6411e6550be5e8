"""The only code that touches MIDI files and ports."""
