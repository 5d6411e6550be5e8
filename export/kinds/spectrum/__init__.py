"""Export of the kind spectrum: first preset, demo, view for searches, and player for nn~."""
