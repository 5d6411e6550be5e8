"""Measures of whole clips: distance between sounds, and similarity of a set of clips to recordings."""
