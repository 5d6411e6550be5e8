"""Everything that a preset names, read, checked and resolved."""
