"""Folders of sounds become corpora: mono, one rate, split by clip, labelled with pitch."""
