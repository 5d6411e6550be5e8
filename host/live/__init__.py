"""Live playing: card, MIDI ports, screen and panel, in two processes."""
