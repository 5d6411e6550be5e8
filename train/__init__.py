"""Trains networks: corpora, data, recipes and the training loop; needs torch."""
