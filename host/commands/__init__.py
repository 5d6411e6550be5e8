"""The host's commands; each imports its implementation when called."""
