"""Trains networks: corpora, recipes and the training loop; needs torch."""
