"""Invert family: networks that predict the code of a clip for a trained generator."""
