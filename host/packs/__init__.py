"""Packs: an instrument as one file."""

SUFFIX = ".timbrel"
BY_DIGEST = "pack:"  # and the SHA-256 of a pack: the model in it, as presets saved from one name it
