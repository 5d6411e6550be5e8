"""Audio I/O and effects: sound files, sound devices and plugins."""
