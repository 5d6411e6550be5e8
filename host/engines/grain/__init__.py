"""Plays grains."""
