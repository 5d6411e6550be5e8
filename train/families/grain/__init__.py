"""Grain family: autoencoders of sound grains, after the Ambisynth post."""
