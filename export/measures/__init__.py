"""What reports and studies measure: frames against frames, keys, codes, and how alike sets of sounds are."""
