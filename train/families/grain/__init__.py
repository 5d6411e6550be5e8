"""Autoencoders of sound grains."""
