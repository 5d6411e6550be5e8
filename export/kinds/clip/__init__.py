"""Export of the kind clip: first preset, demo, kit, and views for searches."""
