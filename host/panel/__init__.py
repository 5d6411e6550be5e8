"""Web panel: shows and plays the preset in a browser, from a separate process that never blocks the audio."""
