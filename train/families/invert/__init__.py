"""The invert family: networks that find the code of a clip for a trained generator."""
