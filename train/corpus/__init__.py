"""Corpora of sounds: mono, split by clip, labelled with pitch."""
