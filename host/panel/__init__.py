"""Web panel: shows and plays the preset in a browser, by a process that never blocks the audio."""
