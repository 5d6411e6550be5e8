"""Gestures: each note goes a way of code and loudness of its own, as recorded notes did."""
