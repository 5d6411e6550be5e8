"""The families gan, dcgan and halves: generators of whole clips, WaveGAN and the DCGAN of one dimension."""
