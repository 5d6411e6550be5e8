"""Families gan, dcgan and halves: WaveGAN and one-dimensional DCGAN generators of whole clips."""
