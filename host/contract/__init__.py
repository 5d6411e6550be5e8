"""Model files: their cards, and the proof that they do as these say."""
