"""Gestures of a model's file: the ways of code and loudness along training notes."""
