"""Corpora of sounds: mono, at one sampling rate, split by clip, labelled with pitch."""
