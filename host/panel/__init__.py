"""Web panel: shows and plays the preset in a browser; served by a separate process that never blocks the audio."""
