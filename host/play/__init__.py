"""Playing: turns events into blocks of sound."""
