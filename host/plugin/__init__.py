"""The server of a plugin: what a DAW plays sounds here, in a process of its own."""
