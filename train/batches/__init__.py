"""Batches of each family: what a corpus gives to training, a step at a time."""
