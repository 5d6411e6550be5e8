"""Measures for reports and studies: frames against frames, keys, codes, and how alike sets of sounds are."""
