"""Model files: their cards, and the proof that the models do as their cards say."""
