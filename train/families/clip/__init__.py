"""Clip family: playable autoencoders of whole short sounds."""
