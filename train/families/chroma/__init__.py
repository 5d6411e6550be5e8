"""The chroma family: the chroma-conditioned autoencoder of Colonel & Keene (2020) and its variants for playing."""
