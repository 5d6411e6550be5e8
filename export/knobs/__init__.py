"""What the knobs of a chroma model do: descriptors of timbre, names of latents, directions of macros."""
