"""Plays spectra and partials."""
