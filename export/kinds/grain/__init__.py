"""Export of the kind grain: first preset, demo, view for searches, and player for nn~."""
