"""Measures of frames, grains, keys, codes and onsets."""
