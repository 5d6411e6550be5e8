"""Playable autoencoders of whole short sounds."""
